import { sql } from 'kysely';
import { journalLaneSpace } from '../db/lock-keys.ts';
import type { EntityManager } from '../db/orm.ts';
import { rowTable, type Column } from '../db/row-table.ts';
import { lineOf, noHash, startBatchHash } from './batch-hash.ts';
import { rowOfFact, type FactRow, type JournalFact } from './journal-fact.ts';

/** Above the number of transactions that record facts at once; with none free, the next one waits for a lane. */
const lanes = 64;

/**
 * Appends facts of this business instant as one batch, in the transaction that makes them true; the last statement of
 * it at best, because the batch's lane is held until the commit. Plain SQL, set-based: a settle records hundreds.
 */
export async function appendFacts(
  tx: EntityManager,
  facts: readonly JournalFact[],
  now: Temporal.Instant,
): Promise<void> {
  if (facts.length === 0) return;
  const lane = await takeLane(tx);
  // A statement of its own: its snapshot is younger than the lock, so it sees what the lane's last holder committed.
  const { rows: heads } = await sql<{ sequence: string; hash: string }>`
    select sequence, encode(hash, 'hex') as hash from journal_batch where lane = ${lane}
    order by sequence desc limit 1
  `.execute(tx.getKysely());
  const sequence = String(BigInt(heads[0]?.sequence ?? 0) + 1n);
  const previousHash = heads[0]?.hash ?? noHash;
  const rows = facts.map((fact) => rowOfFact(fact, now));
  const recordedAtMs = now.epochMilliseconds.toString();
  const hash = startBatchHash({ lane, sequence, previousHash, factCount: rows.length, recordedAtMs });
  for (const [index, row] of rows.entries()) hash.addLine(lineOf(index + 1, row));
  await insertBatch(tx, { lane, sequence, previousHash, hash: hash.digest(), rows }, now);
}

/** The first lane that nobody holds, until the commit. The key (lane, sequence) is what keeps a chain from forking. */
async function takeLane(tx: EntityManager): Promise<number> {
  const db = tx.getKysely();
  const { rows } = await sql<{ lane: number }>`
    select lane from generate_series(1, ${lanes}) as lane
    where pg_try_advisory_xact_lock(${journalLaneSpace}, lane) limit 1
  `.execute(db);
  if (rows[0]) return rows[0].lane;
  const lane = 1 + Math.floor(Math.random() * lanes);
  await sql`select pg_advisory_xact_lock(${journalLaneSpace}, ${lane})`.execute(db);
  return lane;
}

const factColumns: Readonly<Record<string, Column<FactRow>>> = {
  position: ['integer', (_, index) => index + 1],
  kind: ['text', (row) => row.kind],
  subscription_id: ['uuid', (row) => row.subscription_id],
  payment_id: ['uuid', (row) => row.payment_id],
  attempt_id: ['uuid', (row) => row.attempt_id],
  refund_id: ['uuid', (row) => row.refund_id],
  provider: ['text', (row) => row.provider],
  merchant_account: ['text', (row) => row.merchant_account],
  provider_payment_id: ['text', (row) => row.provider_payment_id],
  provider_refund_id: ['text', (row) => row.provider_refund_id],
  amount_minor: ['bigint', (row) => row.amount_minor],
  currency_code: ['text', (row) => row.currency_code],
  period_start_ms: ['bigint', (row) => row.period_start_ms],
  period_end_ms: ['bigint', (row) => row.period_end_ms],
};

async function insertBatch(
  tx: EntityManager,
  batch: { lane: number; sequence: string; previousHash: string; hash: string; rows: readonly FactRow[] },
  now: Temporal.Instant,
): Promise<void> {
  const { lane, sequence, previousHash, hash, rows } = batch;
  const at = now.toString();
  await sql`
    with batch as (
      insert into journal_batch (lane, sequence, previous_hash, hash, fact_count, recorded_at)
      values (${lane}, ${sequence}, decode(${previousHash}, 'hex'), decode(${hash}, 'hex'), ${rows.length}, ${at})
    )
    insert into journal_fact (lane, sequence, position, kind, subscription_id, payment_id, attempt_id, refund_id,
      provider, merchant_account, provider_payment_id, provider_refund_id, amount_minor, currency_code, period_start,
      period_end, occurred_at)
    select ${lane}::integer, ${sequence}::bigint, position, kind, subscription_id, payment_id, attempt_id, refund_id,
      provider, merchant_account, provider_payment_id, provider_refund_id, amount_minor, currency_code,
      to_timestamp(period_start_ms / 1e3::float8), to_timestamp(period_end_ms / 1e3::float8), ${at}::timestamptz
    from ${rowTable('fact', rows, factColumns)}
  `.execute(tx.getKysely());
}
