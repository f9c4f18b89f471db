import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { cpus, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { ensureDatabase, startPostgres } from '../src/local/postgres.ts';
import { plantJournal } from './verify-data.ts';
import type { Worked } from './verify-work.ts';

/**
 * How fast the journal is proven, against a loop that only reads and hashes the same rows; and how much more memory a
 * hundred times the journal takes. Design: each side in a process of its own, interleaved, five rounds.
 */
const rounds = 5;
const sizes = { small: 10_000, large: 1_000_000 } as const;
/** As `npm run billing` runs: V8 would let its young generation grow by as much as the bar. */
const nodeOptions = ['--max-semi-space-size=4'];
const bars = { ofBareHash: 0.5, growthMiB: 48 } as const;

interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly unit: string;
}

export interface VerifyResult {
  readonly bench: 'verify';
  readonly commit: string;
  readonly machine: string;
  readonly rounds: readonly { verify: Worked; bare: Worked }[];
  readonly results: Readonly<Record<string, Spread>>;
  readonly ratios: Readonly<Record<string, { value: number; at_least?: number; at_most?: number; holds: boolean }>>;
}

/** Runs the whole bench on a PostgreSQL of its own; `told` hears of its progress, a line each. */
export async function benchVerify(told: (line: string) => void): Promise<VerifyResult> {
  const folder = mkdtempSync(join(tmpdir(), 'bench-verify-'));
  const env = process.env as Record<string, string>;
  const log = join(folder, 'postgres.log');
  const postgres = await startPostgres({ folder: join(folder, 'data'), logFile: log, password: 'bench', env });
  try {
    for (const [name, charges] of Object.entries(sizes)) {
      told(`${charges.toLocaleString('en')} charges are written`);
      await ensureDatabase(postgres, name);
      await plantJournal(postgres.url(name), charges);
    }
    const small: Worked[] = [];
    const large: VerifyResult['rounds'][number][] = [];
    for (let round = 1; round <= rounds; round++) {
      small.push(await work('verify', postgres.url('small'), sizes.small));
      const verify = await work('verify', postgres.url('large'), sizes.large);
      const bare = await work('bare', postgres.url('large'), sizes.large);
      large.push({ verify, bare });
      told(`round ${round} of ${rounds}: ${rate(verify)} facts/s verified, ${rate(bare)} read and hashed`);
    }
    return summarize(small, large);
  } finally {
    await postgres.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Runs one side; throws unless it really went through all that the database has. */
async function work(side: 'verify' | 'bare', url: string, expected: number): Promise<Worked> {
  const program = join(import.meta.dirname, 'verify-work.ts');
  const { stdout } = await promisify(execFile)(process.execPath, [...nodeOptions, program, side, url]);
  const worked = JSON.parse(stdout) as Worked;
  const client = new Client({ connectionString: url });
  await client.connect();
  const { rows } = await client.query<{ facts: string }>('select count(*) as facts from journal_fact');
  await client.end();
  if (worked.facts !== expected || Number(rows[0]!.facts) !== expected) {
    throw new Error(`${side} went through ${worked.facts} of ${rows[0]!.facts} facts, ${expected} were written`);
  }
  return worked;
}

function summarize(small: readonly Worked[], large: VerifyResult['rounds']): VerifyResult {
  const ofBare = spread(
    large.map(({ verify, bare }) => bare.ms / verify.ms),
    'ratio',
  );
  const growth = spread(
    large.map(({ verify }, round) => verify.rssMiB - small[round]!.rssMiB),
    'MiB',
  );
  return {
    bench: 'verify',
    commit: execFileSync('git', ['rev-parse', '--short', 'HEAD'], {
      cwd: import.meta.dirname,
      encoding: 'utf8',
    }).trim(),
    machine: `${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}`,
    rounds: large,
    results: {
      verify: spread(
        large.map(({ verify }) => perSecond(verify)),
        'facts/s',
      ),
      bare_hash: spread(
        large.map(({ bare }) => perSecond(bare)),
        'facts/s',
      ),
      of_bare_hash: ofBare,
      rss_10k: spread(
        small.map(({ rssMiB }) => rssMiB),
        'MiB',
      ),
      rss_1m: spread(
        large.map(({ verify }) => verify.rssMiB),
        'MiB',
      ),
      memory_growth: growth,
    },
    ratios: {
      of_bare_hash: { value: ofBare.median, at_least: bars.ofBareHash, holds: ofBare.median >= bars.ofBareHash },
      memory_growth_mib: { value: growth.median, at_most: bars.growthMiB, holds: growth.median <= bars.growthMiB },
    },
  };
}

function perSecond({ facts, ms }: Worked): number {
  return (facts / ms) * 1_000;
}

function rate(worked: Worked): string {
  return Math.round(perSecond(worked)).toLocaleString('en');
}

function spread(values: readonly number[], unit: string): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  return { median: sorted[Math.floor(sorted.length / 2)]!, min: sorted[0]!, max: sorted.at(-1)!, unit };
}

function table(result: VerifyResult): string {
  const number = (value: number) => value.toLocaleString('en', { maximumFractionDigits: value < 10 ? 2 : 0 });
  const lines = [`verify, ${result.commit}, ${result.machine}`, ''];
  for (const [name, { median, min, max, unit }] of Object.entries(result.results)) {
    lines.push(
      `  ${name.padEnd(16)}${number(median).padStart(10)} ${unit.padEnd(8)} [${number(min)} … ${number(max)}]`,
    );
  }
  lines.push('');
  for (const [name, { value, at_least: least, at_most: most, holds }] of Object.entries(result.ratios)) {
    const bar = least === undefined ? `at most ${most}` : `at least ${least}`;
    lines.push(`  ${holds ? '✓' : '✗'} ${name} ${number(value)} (${bar})`);
  }
  return lines.join('\n');
}

if (import.meta.main) {
  const result = await benchVerify((line) => console.error(line));
  console.log(process.argv.includes('--json') ? JSON.stringify(result) : table(result));
  process.exitCode = Object.values(result.ratios).every(({ holds }) => holds) ? 0 : 1;
}
