import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Client, types } from 'pg';
import { openDatabase } from '../src/db/orm.ts';
import { verifyLedger } from '../src/ledger/verify-ledger.ts';

export type WorkedSide = 'verify' | 'bare';

/** What one side of the bench answers, from a process of its own. */
export interface Worked {
  readonly facts: number;
  readonly ms: number;
  /** The most that the process ever held. */
  readonly rssMiB: number;
}

const pageSize = 2_000;

async function verify(url: string): Promise<{ facts: number; ms: number }> {
  const orm = await openDatabase({ url, entities: [] });
  try {
    await orm.em.getConnection().execute('select 1');
    const startedAt = performance.now();
    const report = await verifyLedger(orm);
    if (!report.holds) throw new Error(`the journal does not hold: ${JSON.stringify(report.list.slice(0, 5))}`);
    return { facts: report.examined.facts, ms: performance.now() - startedAt };
  } finally {
    await orm.close(true);
  }
}

/** Only reads and hashes the same rows: a cursor of the driver's own, one line a row, one hash. */
async function bare(url: string): Promise<{ facts: number; ms: number }> {
  // Every value as the text that PostgreSQL sent.
  types.setTypeParser(types.builtins.TIMESTAMPTZ, (text) => text);
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    const startedAt = performance.now();
    await client.query('begin isolation level repeatable read read only');
    await client.query(
      'declare facts no scroll cursor for select * from journal_fact order by lane, sequence, position',
    );
    const hash = createHash('sha256');
    let facts = 0;
    for (;;) {
      const { rows } = await client.query<Record<string, string>>(`fetch ${pageSize} from facts`);
      if (rows.length === 0) break;
      for (const row of rows) hash.update(Object.values(row).join('\t'));
      facts += rows.length;
    }
    hash.digest();
    await client.query('commit');
    return { facts, ms: performance.now() - startedAt };
  } finally {
    await client.end();
  }
}

const { side, databaseUrl } = JSON.parse(process.argv[2]!) as { side: WorkedSide; databaseUrl: string };
const worked = await (side === 'verify' ? verify(databaseUrl) : bare(databaseUrl));
// Not `resourceUsage().maxRSS`: Linux counts there what the parent held when it started this process.
const [, peakKiB] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))!;
const result: Worked = { ...worked, rssMiB: Number(peakKiB) / 1_024 };
console.log(JSON.stringify(result));
