import { createHash, randomUUID } from 'node:crypto';
import test from 'ava';
import { Pool } from 'pg';
import { inTransaction, openDatabase, type MikroORM } from '../db/orm.ts';
import { createTestDatabase, type TestDatabase } from '../testing/database.ts';
import { plantCharge } from '../testing/ledger.ts';
import type { Row } from '../testing/world.ts';
import { appendFacts } from './append-facts.ts';
import type { JournalFact } from './journal-fact.ts';
import { verifyLedger } from './verify-ledger.ts';

let database: TestDatabase;
let pool: Pool;
let orm: MikroORM;
const query = async (text: string, values: unknown[] = []) => (await pool.query(text, values)).rows as Row[];
const instant = (text: string) => Temporal.Instant.from(text);
const period = { start: instant('2027-01-31T09:00:00.123Z'), end: instant('2027-02-28T09:00:00.123Z') };

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

function append(facts: readonly JournalFact[], at = '2027-02-01T00:00:00.007Z'): Promise<void> {
  return inTransaction(orm.em, (tx) => appendFacts(tx, facts, instant(at)));
}

test.serial(
  'a batch hashes its header and its facts as the README lays down, and names the batch before it',
  async (t) => {
    const moved = {
      subscriptionId: '11111111-1111-4111-8111-111111111111',
      paymentId: '22222222-2222-4222-8222-222222222222',
      attemptId: '33333333-3333-4333-8333-333333333333',
      provider: 'sandbox',
      merchantAccount: 'cinema',
      providerPaymentId: 'pay_1',
      amount: { currencyCode: 'RUB', amountMinor: 29_900n },
    };
    const refundId = '44444444-4444-4444-8444-444444444444';
    await append([
      { ...moved, kind: 'CHARGED', period },
      { kind: 'FORGIVEN', subscriptionId: moved.subscriptionId, period },
    ]);
    await append([{ ...moved, kind: 'REFUNDED', refundId, providerRefundId: 're_1' }], '2027-02-02T00:00:00Z');
    const [sub, pay, att] = [moved.subscriptionId, moved.paymentId, moved.attemptId];
    const first = createHash('sha256')
      .update(
        [
          `journal-1\t1\t1\t${'0'.repeat(64)}\t2\t1801440000007\n`,
          `1\tCHARGED\t${sub}\t${pay}\t${att}\t\tsandbox\tcinema\tpay_1\t\t29900\tRUB\t1801386000123\t1803805200123\t1801440000007\n`,
          `2\tFORGIVEN\t${sub}\t\t\t\t\t\t\t\t\t\t1801386000123\t1803805200123\t1801440000007\n`,
        ].join(''),
      )
      .digest('hex');
    const second = createHash('sha256')
      .update(
        [
          `journal-1\t1\t2\t${first}\t1\t1801526400000\n`,
          `1\tREFUNDED\t${sub}\t${pay}\t${att}\t${refundId}\tsandbox\tcinema\tpay_1\tre_1\t29900\tRUB\t\t\t1801526400000\n`,
        ].join(''),
      )
      .digest('hex');
    t.deepEqual(
      await query(`select lane, sequence, encode(previous_hash, 'hex') as previous, encode(hash, 'hex') as hash,
      fact_count from journal_batch order by sequence`),
      [
        { lane: 1, sequence: '1', previous: '0'.repeat(64), hash: first, fact_count: 2 },
        { lane: 1, sequence: '2', previous: first, hash: second, fact_count: 1 },
      ],
    );
  },
);

test.serial('PostgreSQL computes the same hashes from the rows', async (t) => {
  for (let n = 0; n < 5; n++) await append([{ ...(await plantCharge(query)), kind: 'CHARGED', period: undefined }]);
  const rows = await query(`
    select encode(b.hash, 'hex') = encode(sha256(convert_to(
      concat_ws(chr(9), 'journal-1', b.lane, b.sequence, encode(b.previous_hash, 'hex'), b.fact_count,
        (extract(epoch from b.recorded_at) * 1000)::bigint) || chr(10)
      || string_agg(concat_ws(chr(9), f.position, f.kind, f.subscription_id, f.payment_id, f.attempt_id,
        coalesce(f.refund_id::text, ''), f.provider, f.merchant_account, f.provider_payment_id,
        coalesce(f.provider_refund_id, ''), f.amount_minor, f.currency_code, '', '',
        (extract(epoch from f.occurred_at) * 1000)::bigint) || chr(10), '' order by f.position), 'UTF8')), 'hex') as same
    from journal_batch b join journal_fact f using (lane, sequence)
    group by b.lane, b.sequence order by b.sequence`);
  t.deepEqual(
    rows,
    Array.from({ length: 5 }, () => ({ same: true })),
  );
});

test.serial('the database refuses to change, delete or empty the journal, also for a replication role', async (t) => {
  await append([{ kind: 'FORGIVEN', subscriptionId: randomUUID(), period }]);
  for (const table of ['journal_batch', 'journal_fact']) {
    for (const statement of [
      `update ${table} set sequence = sequence`,
      `update ${table} set sequence = 1 where lane = -1`,
      `delete from ${table}`,
      `truncate ${table}`,
      `truncate journal_batch, journal_fact`,
      `set session_replication_role = replica; delete from ${table}`,
    ]) {
      await t.throwsAsync(query(statement), { message: /rows never change/ }, statement);
    }
  }
  const counts = await query(
    `select (select count(*)::int from journal_batch) as batches, count(*)::int as facts from journal_fact`,
  );
  t.deepEqual(counts, [{ batches: 1, facts: 1 }]);
});

test.serial('a fact that its transaction takes back leaves no gap', async (t) => {
  const fact: JournalFact = { kind: 'EXTENDED', subscriptionId: randomUUID(), period };
  await append([fact]);
  await t.throwsAsync(
    inTransaction(orm.em, async (tx) => {
      await appendFacts(tx, [fact], instant('2027-02-01T00:00:00Z'));
      throw new Error('taken back');
    }),
    { message: 'taken back' },
  );
  await append([fact]);
  t.deepEqual(await query('select sequence from journal_batch order by sequence'), [
    { sequence: '1' },
    { sequence: '2' },
  ]);
});

test.serial('what would make a line ambiguous is refused', async (t) => {
  for (const providerPaymentId of ['pay 1', 'pay\t1', 'pay\n1', 'pay\u0000', 'платёж']) {
    await t.throwsAsync(append([{ ...(await plantCharge(query)), kind: 'CHARGED', period, providerPaymentId }]), {
      message: /printable ASCII/,
    });
  }
});

test.serial('transactions that record side by side neither wait for one another nor break the chain', async (t) => {
  const [writers, each] = [10, 15];
  // All of them hold a lane at once: nobody commits before everybody has recorded.
  let recorded = 0;
  const all = Promise.withResolvers<void>();
  await Promise.all(
    Array.from({ length: writers }, () =>
      inTransaction(orm.em, async (tx) => {
        await appendFacts(
          tx,
          [{ kind: 'FORGIVEN', subscriptionId: randomUUID(), period }],
          instant('2027-02-01T00:00:00Z'),
        );
        recorded += 1;
        if (recorded === writers) all.resolve();
        await all.promise;
      }),
    ),
  );
  await Promise.all(
    Array.from({ length: writers }, async () => {
      for (let n = 0; n < each; n++) {
        const facts = Array.from(
          { length: 1 + (n % 3) },
          () => ({ kind: 'FORGIVEN', subscriptionId: randomUUID(), period }) as const,
        );
        await append(facts);
      }
    }),
  );
  const report = await verifyLedger(orm);
  t.deepEqual(report.list, []);
  t.deepEqual(report.examined, {
    batches: writers * (each + 1),
    facts: writers * (2 * each + 1),
    periods: writers * (2 * each + 1),
    charges: 0,
    refunds: 0,
  });
  t.true(report.heads.length >= writers, `${report.heads.length} lanes`);
});
