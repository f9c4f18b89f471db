import { createHash, randomUUID } from 'node:crypto';
import test from 'ava';
import { Pool } from 'pg';
import { inTransaction, openDatabase, type MikroORM } from '../db/orm.ts';
import { createTestDatabase, type TestDatabase } from '../testing/database.ts';
import { forge, plantCharge } from '../testing/ledger.ts';
import type { Row } from '../testing/world.ts';
import { appendFacts } from './append-facts.ts';
import type { FactPeriod, JournalFact, MoneyMoved } from './journal-fact.ts';
import { verifyLedger } from './verify-ledger.ts';

let database: TestDatabase;
let pool: Pool;
let orm: MikroORM;
const query = async (text: string, values: unknown[] = []) => (await pool.query(text, values)).rows as Row[];
const now = Temporal.Instant.from('2027-02-01T00:00:00Z');

test.beforeEach(async () => {
  database = await createTestDatabase();
  pool = new Pool({ connectionString: database.url, max: 4 });
  orm = await openDatabase({ url: database.url, entities: [] });
});
test.afterEach.always(async () => {
  await pool?.end();
  await orm?.close(true);
  await database?.drop();
});

const append = (...facts: JournalFact[]) => inTransaction(orm.em, (tx) => appendFacts(tx, facts, now));
const month = (from: string, to: string): FactPeriod => ({
  start: Temporal.Instant.from(`${from}T09:00:00Z`),
  end: Temporal.Instant.from(`${to}T09:00:00Z`),
});
const january = month('2027-01-15', '2027-02-15');
const february = month('2027-02-15', '2027-03-15');
const march = month('2027-03-15', '2027-04-15');

async function charged(period: FactPeriod | undefined, subscriptionId?: string): Promise<JournalFact> {
  const moved = await plantCharge(query, { ...(subscriptionId ? { subscriptionId } : {}), at: now.toString() });
  return { ...moved, kind: 'CHARGED', period };
}

/** Three batches of two, two and one charges in lane 1. */
async function plantJournal(): Promise<MoneyMoved[]> {
  const facts: JournalFact[] = [];
  for (let n = 0; n < 5; n++) facts.push(await charged(january));
  await append(...facts.slice(0, 2));
  await append(...facts.slice(2, 4));
  await append(...facts.slice(4));
  return facts as (JournalFact & MoneyMoved)[];
}

async function classesFound(): Promise<string[]> {
  const report = await verifyLedger(orm);
  return report.list.map((finding) => finding.class).sort();
}

test.serial('a journal that holds says what it examined', async (t) => {
  await plantJournal();
  const seen: number[][] = [];
  const report = await verifyLedger(orm, { onProgress: (...progress) => seen.push(progress) });
  t.deepEqual(report.list, []);
  t.true(report.holds);
  t.deepEqual(report.examined, { batches: 3, facts: 5, periods: 5, charges: 5, refunds: 0 });
  t.deepEqual(seen.at(-1), [5, 5]);
  const [last] = await query(`select encode(hash, 'hex') as hash from journal_batch where sequence = 3`);
  t.deepEqual(report.heads, [{ lane: 1, sequence: '3', hash: last!['hash'] }]);
});

test.serial('a run that examined nothing has proven nothing', async (t) => {
  const report = await verifyLedger(orm);
  t.false(report.holds);
  t.deepEqual(report.examined, { batches: 0, facts: 0, periods: 0, charges: 0, refunds: 0 });
});

const onlyTheChain: [what: string, statement: string, found: string[]][] = [
  [
    'another period',
    `update journal_fact set period_end = period_end + interval '1 day' where sequence = 2 and position = 1`,
    ['tampered row'],
  ],
  [
    'another instant of a fact',
    `update journal_fact set occurred_at = occurred_at - interval '1 ms' where sequence = 1`,
    ['tampered row'],
  ],
  ['two facts swapped', `update journal_fact set position = 3 - position where sequence = 1`, ['tampered row']],
  [
    'another instant of a batch',
    `update journal_batch set recorded_at = recorded_at + interval '1 ms' where sequence = 2`,
    ['tampered row'],
  ],
  ['another number of facts', `update journal_batch set fact_count = 1 where sequence = 2`, ['tampered row']],
  [
    'a batch that names another one before it',
    `update journal_batch set previous_hash = sha256('x') where sequence = 2`,
    ['broken chain', 'tampered row'],
  ],
  ['a batch gone, its facts left', `delete from journal_batch where sequence = 2`, ['missing batch']],
  ['the last batch gone, its facts left', `delete from journal_batch where sequence = 3`, ['missing batch']],
  ['all batches gone, their facts left', `delete from journal_batch where sequence < 4`, ['missing batch']],
  [
    'batches that changed places',
    `update journal_batch set sequence = 5 - sequence where sequence > 1`,
    ['broken chain', 'broken chain', 'missing row', 'tampered row'],
  ],
];
for (const [what, statement, found] of onlyTheChain) {
  test.serial(`planted and found: ${what}`, async (t) => {
    await plantJournal();
    // Swapping keys meets the key itself on the way.
    const drop = [
      'alter table journal_batch drop constraint journal_batch_pkey',
      'alter table journal_fact drop constraint journal_fact_pkey',
    ];
    await forge(query, ...drop, statement);
    t.deepEqual(await classesFound(), found);
  });
}

test.serial('planted and found: a missing row, which the books miss as well', async (t) => {
  await plantJournal();
  await forge(query, 'delete from journal_fact where sequence = 2 and position = 2');
  t.deepEqual(await classesFound(), ['missing row', 'not in the journal']);
});

test.serial('planted and found: an added row, which the books do not have', async (t) => {
  await plantJournal();
  await forge(
    query,
    `insert into journal_fact select lane, sequence, 3, kind, subscription_id, payment_id, gen_random_uuid(), refund_id,
       provider, merchant_account, 'pay_added', provider_refund_id, amount_minor, currency_code, null, null, occurred_at
     from journal_fact where sequence = 2 and position = 2`,
  );
  t.deepEqual(await classesFound(), ['not in the books', 'tampered row']);
});

test.serial('planted and found: another amount', async (t) => {
  const [first] = await plantJournal();
  await forge(query, `update journal_fact set amount_minor = 1 where attempt_id = '${first!.attemptId}'`);
  t.deepEqual(await classesFound(), ['not in the books', 'tampered row']);
});

test.serial('planted and found: a whole batch removed in the middle, and one at the end', async (t) => {
  await plantJournal();
  await forge(query, 'delete from journal_fact where sequence = 2', 'delete from journal_batch where sequence = 2');
  t.deepEqual(await classesFound(), ['missing batch', 'not in the journal', 'not in the journal']);
  await forge(query, 'delete from journal_fact where sequence = 3', 'delete from journal_batch where sequence = 3');
  // What is left is a chain without a flaw: only the books still know of the three charges.
  t.deepEqual(await classesFound(), ['not in the journal', 'not in the journal', 'not in the journal']);
});

test.serial('planted and found: an end that was cut off whole, by the heads of an earlier run', async (t) => {
  const fact = { kind: 'FORGIVEN', subscriptionId: randomUUID(), period: january } as const;
  for (let n = 0; n < 3; n++) await append(fact);
  const { heads: knownHeads } = await verifyLedger(orm);
  await append(fact);
  t.deepEqual((await verifyLedger(orm, { knownHeads })).list, []);
  await forge(query, 'delete from journal_fact where sequence > 2', 'delete from journal_batch where sequence > 2');
  // To the chain and to the books, nothing is wrong.
  t.deepEqual(await classesFound(), []);
  const cut = await verifyLedger(orm, { knownHeads });
  t.deepEqual(cut.list, [{ class: 'missing batch', what: 'batch 3 of lane 1 was the head of its lane and is gone' }]);
  await append({ ...fact, kind: 'EXTENDED', period: february });
  const rewritten = await verifyLedger(orm, { knownHeads });
  t.deepEqual(
    rewritten.list.map((finding) => finding.class),
    ['broken chain'],
  );
});

test.serial('planted and found: a batch rewritten with a hash that fits breaks the chain behind it', async (t) => {
  const subscriptionId = randomUUID();
  for (const period of [january, february, march]) await append({ kind: 'FORGIVEN', subscriptionId, period });
  const [batch] = await query(`select encode(previous_hash, 'hex') as previous from journal_batch where sequence = 2`);
  const at = now.epochMilliseconds;
  const [start, end] = [february.start.epochMilliseconds, february.end.epochMilliseconds + 1];
  const forged = createHash('sha256')
    .update(`journal-1\t1\t2\t${batch!['previous'] as string}\t1\t${at}\n`)
    .update(`1\tFORGIVEN\t${subscriptionId}\t\t\t\t\t\t\t\t\t\t${start}\t${end}\t${at}\n`)
    .digest('hex');
  await forge(
    query,
    `update journal_fact set period_end = period_end + interval '1 ms' where sequence = 2`,
    `update journal_batch set hash = decode('${forged}', 'hex') where sequence = 2`,
  );
  t.deepEqual(await classesFound(), ['broken chain']);
});

test.serial('planted and found: a blank smuggled into a field, so that two rows would have one line', async (t) => {
  const [first] = await plantJournal();
  await forge(
    query,
    `update journal_fact set provider = provider || chr(9) || merchant_account, merchant_account = ''
     where attempt_id = '${first!.attemptId}'`,
    `update payment_attempt set provider = provider || chr(9) || merchant_account, merchant_account = ''
     where id = '${first!.attemptId}'`,
  );
  t.deepEqual(await classesFound(), ['tampered row']);
});

test.serial('periods tile: in a row, with what is forgiven or given between, and forgiven twice', async (t) => {
  const [a, b, c] = [randomUUID(), randomUUID(), randomUUID()];
  await append(await charged(january, a), await charged(february, a), await charged(march, a));
  await append(
    await charged(march, b),
    { kind: 'FORGIVEN', subscriptionId: b, period: february },
    await charged(january, b),
  );
  await append({ kind: 'FORGIVEN', subscriptionId: b, period: february }, await charged(undefined, b));
  await append(
    await charged(january, c),
    { kind: 'EXTENDED', subscriptionId: c, period: february },
    await charged(march, c),
  );
  t.deepEqual(await classesFound(), []);
});

test.serial('planted and found: holes and overlaps, each with its subscription', async (t) => {
  const [hole, overlap, sold, forgiven] = [randomUUID(), randomUUID(), randomUUID(), randomUUID()];
  await append(await charged(january, hole), await charged(march, hole));
  await append(await charged(january, overlap), await charged(month('2027-02-14', '2027-03-15'), overlap));
  await append(await charged(january, sold), await charged(january, sold));
  await append(await charged(february, forgiven), {
    kind: 'FORGIVEN',
    subscriptionId: forgiven,
    period: month('2027-03-01', '2027-03-15'),
  });
  const { list } = await verifyLedger(orm);
  t.deepEqual(
    list.map((finding) => [finding.class, /subscription (\S+):/.exec(finding.what)?.[1]]).sort(),
    [
      ['hole', hole],
      ['overlap', overlap],
      ['overlap', sold],
      ['overlap', forgiven],
    ].sort(),
  );
  t.true(list.some(({ what }) => what.endsWith('nothing accounts for 2027-02-15T09:00:00Z to 2027-03-15T09:00:00Z')));
});

test.serial('planted and found: a refund that only one side knows', async (t) => {
  const facts = (await plantJournal()) as (MoneyMoved & { kind: 'CHARGED' })[];
  const [a, b] = facts;
  await query(
    `insert into refund (id, attempt_id, reason, provider, merchant_account, provider_payment_id, amount_minor,
       currency_code, idempotency_key, state, provider_refund_id, lease_until, created_at, settled_at)
     values ($1::uuid, $2, 'SURPLUS', 'sandbox', 'sandbox-cinema', $3, 29900, 'RUB', $1::text, 'SUCCEEDED', 're_1', $4, $4, $4)`,
    [randomUUID(), a!.attemptId, a!.providerPaymentId, now.toString()],
  );
  t.deepEqual(await classesFound(), ['not in the journal']);
  await append({ ...b!, kind: 'REFUNDED', refundId: randomUUID(), providerRefundId: 're_2' });
  t.deepEqual(await classesFound(), ['not in the books', 'not in the journal']);
});

test.serial('planted and found: a dispute that only one side knows', async (t) => {
  const facts = (await plantJournal()) as (MoneyMoved & { kind: 'CHARGED' })[];
  const [a, b] = facts;
  await query(
    `insert into dispute (id, attempt_id, provider, merchant_account, provider_dispute_id, amount_minor, currency_code,
       reason, state, opened_at, closed_at)
     values ($1, $2, 'sandbox', 'sandbox-cinema', 'dp_1', 29900, 'RUB', 'fraudulent', 'LOST', $3, $3)`,
    [randomUUID(), a!.attemptId, now.toString()],
  );
  t.deepEqual(await classesFound(), ['not in the journal']);
  await append({ ...b!, kind: 'DISPUTED', disputeId: randomUUID(), providerDisputeId: 'dp_2' });
  t.deepEqual(await classesFound(), ['not in the books', 'not in the journal']);
});

test.serial('a journal of many pages is read to its end', async (t) => {
  const facts = Array.from(
    { length: 2_500 },
    () => ({ kind: 'FORGIVEN', subscriptionId: randomUUID(), period: january }) as const,
  );
  await append(...facts);
  await append(...facts.slice(0, 1_600));
  for (let n = 0; n < 3; n++) await append(facts[0]!);
  const report = await verifyLedger(orm);
  t.deepEqual(report.list, []);
  t.deepEqual([report.examined.batches, report.examined.facts], [5, 4_103]);
  await forge(query, `delete from journal_fact where sequence = 2 and position = 1600`);
  t.deepEqual(await classesFound(), ['missing row']);
});
