import { sql } from 'kysely';
import type { EntityManager } from '../db/orm.ts';
import { noHash, startBatchHash } from './batch-hash.ts';
import type { FindingSink } from './findings.ts';
import { openCursor } from './read-transaction.ts';

export type ChainClass = 'tampered row' | 'missing row' | 'missing batch' | 'broken chain';

/** The last batch of a lane. Kept outside the database, it is what the lane has to contain for ever. */
export interface LaneHead {
  readonly lane: number;
  readonly sequence: string;
  readonly hash: string;
}

export interface ChainResult {
  readonly batches: number;
  readonly facts: number;
  readonly heads: readonly LaneHead[];
}

interface BatchRow {
  lane: number;
  sequence: string;
  previous_hash: string;
  hash: string;
  fact_count: number;
  recorded_at_ms: string;
}

interface PlacedFact {
  readonly lane: number;
  readonly sequence: string;
  readonly line: string;
}

const pageSize = 1_000;

const selectBatches = sql`
  select lane, sequence, encode(previous_hash, 'hex') as previous_hash, encode(hash, 'hex') as hash, fact_count,
    (extract(epoch from recorded_at) * 1000)::bigint as recorded_at_ms
  from journal_batch order by lane, sequence
`;

/** The lines that were hashed, put together by the database: a row of 17 values would cost this process four times. */
const selectFacts = sql`
  select lane, sequence, concat_ws(chr(9), position, kind, subscription_id, coalesce(payment_id::text, ''),
    coalesce(attempt_id::text, ''), coalesce(refund_id::text, ''), coalesce(provider, ''),
    coalesce(merchant_account, ''), coalesce(provider_payment_id, ''), coalesce(provider_refund_id, ''),
    coalesce(amount_minor::text, ''), coalesce(currency_code, ''),
    coalesce((extract(epoch from period_start) * 1000)::bigint::text, ''),
    coalesce((extract(epoch from period_end) * 1000)::bigint::text, ''),
    (extract(epoch from occurred_at) * 1000)::bigint) as line
  from journal_fact order by lane, sequence, position
`;

/**
 * Recomputes every hash, batch by batch along each lane, with two cursors side by side. Heads that were kept from an
 * earlier run have to be in their lanes still: nothing else shows that an intact chain has lost its end.
 */
export async function verifyChain(
  tx: EntityManager,
  findings: FindingSink<ChainClass>,
  options: { knownHeads: readonly LaneHead[]; onFacts: (done: number) => void },
): Promise<ChainResult> {
  const nextBatches = await openCursor<BatchRow>(tx, 'batches', selectBatches, pageSize);
  const facts = await openFacts(tx, options.onFacts);
  const known = new Map(options.knownHeads.map((head) => [nameOf(head), head.hash]));
  const heads: LaneHead[] = [];
  let batches = 0;
  let head: LaneHead | undefined;
  for (let page = await nextBatches(); page.length > 0; page = await nextBatches()) {
    for (const batch of page) {
      const isNewLane = head?.lane !== batch.lane;
      if (head && isNewLane) heads.push(head);
      const left = await skipFactsBefore(facts, batch);
      if (left.elsewhere > 0) findings.add('missing batch', `${factsOf(left.elsewhere)} before ${nameOf(batch)}`);
      const before = isNewLane ? { sequence: '0', hash: noHash } : head!;
      const gap = BigInt(batch.sequence) - BigInt(before.sequence) - 1n;
      if (gap > 0n || left.here > 0) findings.add('missing batch', describeGap(batch, gap, left.here));
      else if (batch.previous_hash !== before.hash) findings.add('broken chain', describeBreak(batch));
      await verifyBatch(facts, batch, findings);
      if ((known.get(nameOf(batch)) ?? batch.hash) !== batch.hash) {
        findings.add('broken chain', `${nameOf(batch)} has another hash than when it was the head of its lane`);
      }
      known.delete(nameOf(batch));
      batches += 1;
      head = { lane: batch.lane, sequence: batch.sequence, hash: batch.hash };
    }
  }
  if (head) heads.push(head);
  const rest = await skipFactsBefore(facts, undefined);
  if (rest.elsewhere > 0) findings.add('missing batch', `${factsOf(rest.elsewhere)} after the last batch`);
  for (const name of known.keys()) findings.add('missing batch', `${name} was the head of its lane and is gone`);
  return { batches, facts: facts.count, heads };
}

interface Facts {
  page: readonly PlacedFact[];
  index: number;
  /** Seen so far. */
  count: number;
  refill(): Promise<PlacedFact | undefined>;
}

async function openFacts(tx: EntityManager, onFacts: (done: number) => void): Promise<Facts> {
  const nextPage = await openCursor<PlacedFact>(tx, 'facts', selectFacts, pageSize);
  const facts: Facts = {
    page: [],
    index: 0,
    count: 0,
    async refill() {
      facts.page = await nextPage();
      facts.index = 0;
      facts.count += facts.page.length;
      onFacts(facts.count);
      return facts.page[0];
    },
  };
  return facts;
}

async function verifyBatch(facts: Facts, batch: BatchRow, findings: FindingSink<ChainClass>): Promise<void> {
  const { lane, sequence } = batch;
  const hash = startBatchHash({
    lane,
    sequence,
    previousHash: batch.previous_hash,
    factCount: batch.fact_count,
    recordedAtMs: batch.recorded_at_ms,
  });
  let seen = 0;
  let isReadable = true;
  for (;;) {
    // Only a new page is waited for: a promise per fact would cost as much as its hash.
    const fact = facts.page[facts.index] ?? (await facts.refill());
    if (fact?.lane !== lane || fact.sequence !== sequence) break;
    facts.index += 1;
    seen += 1;
    try {
      hash.addLine(fact.line);
    } catch {
      isReadable = false;
    }
  }
  if (seen < batch.fact_count) {
    findings.add('missing row', `${nameOf(batch)} was written with ${counted(batch.fact_count)} and has ${seen}`);
  } else if (!isReadable || hash.digest() !== batch.hash) {
    findings.add('tampered row', `${nameOf(batch)}, ${counted(seen)}, is not what was hashed`);
  }
}

/** Counts facts that no batch claims: of the lane of the batch that comes next (`here`), or of another one. */
async function skipFactsBefore(
  facts: Facts,
  batch: BatchRow | undefined,
): Promise<{ here: number; elsewhere: number }> {
  const left = { here: 0, elsewhere: 0 };
  for (;;) {
    const fact = facts.page[facts.index] ?? (await facts.refill());
    if (fact === undefined) return left;
    const isHere = fact.lane === batch?.lane;
    if (batch && (isHere ? BigInt(fact.sequence) >= BigInt(batch.sequence) : fact.lane > batch.lane)) return left;
    facts.index += 1;
    left[isHere ? 'here' : 'elsewhere'] += 1;
  }
}

function nameOf({ lane, sequence }: Pick<BatchRow, 'lane' | 'sequence'>): string {
  return `batch ${sequence} of lane ${lane}`;
}

function counted(facts: number): string {
  return facts === 1 ? '1 fact' : `${facts} facts`;
}

function factsOf(count: number): string {
  return `${counted(count)} without a batch`;
}

function describeGap(batch: BatchRow, gap: bigint, left: number): string {
  const missing = gap === 1n ? '1 batch is missing' : `${gap} batches are missing`;
  return `${missing} before ${nameOf(batch)}${left > 0 ? `; ${factsOf(left)}` : ''}`;
}

function describeBreak(batch: BatchRow): string {
  return `${nameOf(batch)} does not name the hash of the batch before it`;
}
