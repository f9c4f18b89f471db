import { sql } from 'kysely';
import { migrateDatabase } from '../src/db/migrate.ts';
import { inTransaction, openDatabase, type EntityManager } from '../src/db/orm.ts';
import { appendFacts } from '../src/ledger/append-facts.ts';
import type { JournalFact } from '../src/ledger/journal-fact.ts';

const batchSize = 500;
const lanes = 2;
/** Of each subscription, one after the other. */
const periods = 10;
const monthMs = 30 * 86_400_000;
const begin = Temporal.Instant.from('2027-01-01T00:00:00Z');

interface AttemptRow {
  attempt_id: string;
  payment_id: string;
  subscription_id: string;
  provider_payment_id: string;
  cycle: number;
}

/**
 * Fills an empty database with that many charges: payments and attempts by SQL, and their facts through the service's
 * own `appendFacts`, in batches of a renewal's size, two in flight as the engine has them.
 */
export async function plantJournal(url: string, charges: number): Promise<void> {
  await migrateDatabase(url);
  const orm = await openDatabase({ url, entities: [], statementTimeoutMs: 10 * 60_000 });
  try {
    let planted = 0;
    const lane = async () => {
      while (planted < charges) {
        const [from, count] = [planted, Math.min(batchSize, charges - planted)];
        planted += count;
        await inTransaction(orm.em, (tx) => plantBatch(tx, from, count, charges));
      }
    };
    await Promise.all(Array.from({ length: lanes }, lane));
    await sql`vacuum analyze`.execute(orm.em.fork().getKysely());
  } finally {
    await orm.close(true);
  }
}

/** The n-th charge is of cycle n ÷ subscriptions: a month after the other, as renewals come. */
async function plantBatch(tx: EntityManager, from: number, count: number, charges: number): Promise<void> {
  const subscriptions = Math.ceil(charges / periods);
  const db = tx.getKysely();
  const cycle = Math.floor(from / subscriptions);
  const now = begin.add({ milliseconds: cycle * monthMs });
  const { rows } = await sql<AttemptRow>`
    with charge as materialized (
      select uuidv7() as payment_id, uuidv7() as attempt_id, n / ${subscriptions}::int as cycle,
        md5('subscription ' || n % ${subscriptions}::int)::uuid as subscription_id
      from generate_series(${from}::int, ${from + count - 1}::int) as n
    ), payment as (
      insert into payment (id, subscription_id, user_id, purpose, amount_minor, currency_code, status, created_at, settled_at)
      select payment_id, subscription_id, subscription_id, 'cycle:' || cycle, 29900, 'RUB', 'SUCCEEDED', ${now.toString()}, ${now.toString()}
      from charge
      returning id
    )
    select * , 'pay_' || replace(attempt_id::text, '-', '') as provider_payment_id from charge
  `.execute(db);
  await sql`
    insert into payment_attempt (id, payment_id, subscription_id, attempt_number, kind, idempotency_key, provider,
      merchant_account, amount_minor, currency_code, description, state, provider_payment_id, lease_until, created_at,
      settled_at)
    select attempt_id, payment_id, subscription_id, 1, 'checkout', attempt_id::text, 'sandbox', 'sandbox-cinema', 29900,
      'RUB', '', 'SUCCEEDED', provider_payment_id, now(), ${now.toString()}, ${now.toString()}
    from unnest(${rows.map((row) => row.attempt_id)}::uuid[], ${rows.map((row) => row.payment_id)}::uuid[],
      ${rows.map((row) => row.subscription_id)}::uuid[], ${rows.map((row) => row.provider_payment_id)}::text[])
      as a(attempt_id, payment_id, subscription_id, provider_payment_id)
  `.execute(db);
  await appendFacts(
    tx,
    rows.map((row) => factOf(row)),
    now,
  );
}

function factOf(row: AttemptRow): JournalFact {
  const start = begin.add({ milliseconds: row.cycle * monthMs });
  return {
    kind: 'CHARGED',
    subscriptionId: row.subscription_id,
    paymentId: row.payment_id,
    attemptId: row.attempt_id,
    provider: 'sandbox',
    merchantAccount: 'sandbox-cinema',
    providerPaymentId: row.provider_payment_id,
    amount: { currencyCode: 'RUB', amountMinor: 29_900n },
    period: { start, end: start.add({ milliseconds: monthMs }) },
  };
}
