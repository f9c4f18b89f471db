import { join } from 'node:path';
import type { Bench, Figures } from './bench.ts';
import { withClient } from './postgres-server.ts';
import { runSide } from './side-process.ts';
import { plantJournal } from './verify-data.ts';
import type { Worked, WorkedSide } from './verify-work.ts';

/** As `npm run billing` runs: V8 would let its garbage grow by more than the bar. */
const nodeOptions = ['--max-semi-space-size=4', '--max-old-space-size=192'];
const sizes = { verify_small: 10_000, verify_large: 1_000_000 } as const;

/**
 * How fast the journal is proven, against a loop that only reads and hashes the same rows; and how much more memory a
 * hundred times the journal takes.
 */
export const verify: Bench = {
  title: `the proof of a journal of ${sizes.verify_large.toLocaleString('en')} facts, against reading and hashing them`,
  units: { verify: 'facts/s', bare_hash: 'facts/s', rss_10k: 'MiB', rss_1m: 'MiB' },
  ratios: {
    of_bare_hash: { of: ({ verify: ours, bare_hash: bare }) => ours! / bare!, bar: { at_least: 0.5 } },
    memory_growth_mib: { of: ({ rss_10k: small, rss_1m: large }) => large! - small!, bar: { at_most: 48 } },
  },
  async prepare(env) {
    for (const [name, charges] of Object.entries(sizes)) {
      env.progress(`writing ${charges.toLocaleString('en')} charges`);
      await withClient(env.databaseUrl('postgres'), (client) => client.query(`create database ${name}`));
      await plantJournal(env.databaseUrl(name), charges);
    }
    const work = (side: WorkedSide, database: keyof typeof sizes) =>
      runVerify(side, env.databaseUrl(database), sizes[database], env.profileDir);
    return {
      settings: { bare_hash: "a cursor of the driver's own, one line a row, one hash" },
      async round(): Promise<Figures> {
        const small = await work('verify', 'verify_small');
        const large = await work('verify', 'verify_large');
        const bare = await work('bare', 'verify_large');
        return {
          verify: perSecond(large),
          bare_hash: perSecond(bare),
          rss_10k: small.rssMiB,
          rss_1m: large.rssMiB,
        };
      },
    };
  },
};

/** Runs one side; throws unless it really went through all that the database has. */
async function runVerify(
  side: WorkedSide,
  databaseUrl: string,
  expected: number,
  profileDir: string | undefined,
): Promise<Worked> {
  const program = join(import.meta.dirname, 'verify-work.ts');
  const options = { nodeOptions, profileDir: side === 'verify' ? profileDir : undefined };
  const worked = await runSide<Worked>(program, { side, databaseUrl }, options);
  const stored = await withClient(databaseUrl, async (client) => {
    const { rows } = await client.query<{ facts: string }>('select count(*) as facts from journal_fact');
    return Number(rows[0]!.facts);
  });
  if (worked.facts !== expected || stored !== expected) {
    throw new Error(`${side} went through ${worked.facts} of ${stored} facts, ${expected} were written`);
  }
  return worked;
}

function perSecond({ facts, ms }: Worked): number {
  return (facts / ms) * 1_000;
}
