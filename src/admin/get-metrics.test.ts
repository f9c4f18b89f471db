import { randomUUID } from 'node:crypto';
import test from 'ava';
import { RpcError } from '../cli/grpc-client.ts';
import { startWorld, type World } from '../testing/world.ts';

let world: World;
test.before(async () => {
  world = await startWorld({ at: '2027-03-10T12:00:00Z', env: { BILLING_TIME_ZONE: 'Europe/Moscow' } });
});
test.after.always(() => world?.stop());

interface Planted {
  status: string;
  price: string;
  createdAt?: string;
  endedAt?: string;
  canceledAt?: string;
  flagged?: boolean;
  complimentary?: boolean;
}

async function price(currency: string, amountMinor: number, unit: string, count: number): Promise<string> {
  const id = randomUUID();
  await world.query(`insert into price select $1, id, $2, $3, $4, $5, now() from plan where code = 'basic'`, [
    id,
    currency,
    amountMinor,
    unit,
    count,
  ]);
  return id;
}

async function plant(row: Planted): Promise<string> {
  const [id, userId, methodId] = [randomUUID(), randomUUID(), randomUUID()];
  const ended = row.endedAt ?? null;
  await world.query(`insert into customer values ($1, now())`, [userId]);
  await world.query(
    `insert into payment_method (id, user_id, provider, merchant_account, provider_customer_id, provider_method_id,
       brand, last4, expiry_month, expiry_year, created_at)
     values ($1, $2, 'sandbox', 'm', 'c', $3, 'Visa', '4242', 1, 2030, now())`,
    [methodId, userId, `pm_${methodId}`],
  );
  await world.query(
    `insert into subscription (id, user_id, plan_id, price_id, product_line, status, billing_time_zone, anchor_at,
       current_period_start, current_period_end, payment_method_id, next_charge_at, next_transition_at, created_at,
       ended_at, canceled_at, cancel_at_period_end, complimentary, dunning_ends_at)
     select $1, $2, id, $3, 'cinema', $4, 'UTC', '2027-03-01', '2027-03-01', '2027-05-01', $5,
       case when $6::timestamptz is null then '2027-05-01'::timestamptz end, null, $7, $6, $8, $9, $10,
       case when $4 = 'PAST_DUE' then '2027-05-02'::timestamptz end from plan where code = 'basic'`,
    [
      id,
      userId,
      row.price,
      row.status,
      methodId,
      ended,
      row.createdAt ?? '2027-01-05',
      row.canceledAt ?? null,
      row.flagged ?? false,
      row.complimentary ?? false,
    ],
  );
  return id;
}

async function renewal(subscriptionId: string, firstState: string, status: string, settledAt: string): Promise<void> {
  const paymentId = randomUUID();
  await world.query(
    `insert into payment (id, subscription_id, user_id, purpose, amount_minor, currency_code, status, created_at, settled_at)
     select $1, id, user_id, 'cycle:1', 100, 'RUB', $3, $4, case when $3 <> 'PENDING' then $4::timestamptz end
     from subscription where id = $2`,
    [paymentId, subscriptionId, status, settledAt],
  );
  await world.query(
    `insert into payment_attempt (id, payment_id, subscription_id, attempt_number, kind, idempotency_key, provider,
       merchant_account, amount_minor, currency_code, description, state, lease_until, settled_at, created_at)
     values ($1, $2, $3, 1, 'checkout', gen_random_uuid()::text, 'sandbox', 'm', 100, 'RUB', '', $4, now(), $5, $5)`,
    [randomUUID(), paymentId, subscriptionId, firstState, settledAt],
  );
}

async function fact(position: number, kind: string, currency: string, amountMinor: number, at: string): Promise<void> {
  const refund = kind === 'REFUNDED';
  await world.query(
    `insert into journal_fact (lane, sequence, position, kind, subscription_id, payment_id, attempt_id, refund_id,
       provider, merchant_account, provider_payment_id, provider_refund_id, amount_minor, currency_code, occurred_at)
     values (99, 1, $1, $2, $3, $3, $3, $4, 'sandbox', 'm', 'p', $5, $6, $7, $8)`,
    [position, kind, randomUUID(), refund ? randomUUID() : null, refund ? 'r' : null, amountMinor, currency, at],
  );
}

test('figures are those that a hand computes from planted rows', async (t) => {
  const month = await price('RUB', 29_900, 'month', 1);
  const year = await price('RUB', 299_000, 'year', 1);
  const quarter = await price('JPY', 1_000, 'month', 3);
  // Monthly revenue: 2 × 299.00 + 2990.00 / 12 = 598 + 249.1667 → 84717 kopecks; ¥1000 / 3 → 333.
  const kept = await plant({ status: 'ACTIVE', price: month });
  await plant({ status: 'ACTIVE', price: month, createdAt: '2027-03-05' });
  await plant({ status: 'ACTIVE', price: year });
  await plant({ status: 'ACTIVE', price: quarter });
  await plant({ status: 'ACTIVE', price: month, flagged: true });
  await plant({ status: 'ACTIVE', price: month, complimentary: true });
  const owing = await plant({ status: 'PAST_DUE', price: month });
  // Ended: one asked for, two by failed payments, one gift, one the day before the span begins in Moscow.
  const asked = { status: 'CANCELED', price: month, endedAt: '2027-03-02T10:00:00Z', canceledAt: '2027-03-01' };
  await plant(asked);
  const failed = { status: 'CANCELED', price: month, endedAt: '2027-03-03T10:00:00Z' };
  await plant(failed);
  await plant(failed);
  await plant({ ...failed, complimentary: true });
  await plant({ ...failed, endedAt: '2027-02-28T20:59:59Z' });
  // Renewals declined at first: one recovered, one not; one declined before the span; one never declined.
  await renewal(kept, 'DECLINED', 'SUCCEEDED', '2027-03-04T10:00:00Z');
  await renewal(owing, 'DECLINED', 'PENDING', '2027-03-04T11:00:00Z');
  await renewal(
    await plant({ status: 'ACTIVE', price: quarter, flagged: true }),
    'DECLINED',
    'SUCCEEDED',
    '2027-02-20T10:00:00Z',
  );
  // 22:30 in UTC is the next day in Moscow.
  await fact(1, 'CHARGED', 'RUB', 29_900, '2027-03-04T20:30:00Z');
  await fact(2, 'CHARGED', 'RUB', 29_900, '2027-03-04T22:30:00Z');
  await fact(3, 'REFUNDED', 'RUB', 9_900, '2027-03-05T09:00:00Z');
  await fact(4, 'CHARGED', 'JPY', 1_000, '2027-03-05T10:00:00Z');
  await fact(5, 'CHARGED', 'RUB', 500, '2027-02-28T20:59:59Z');

  const token = await world.auth.token({ sub: 'rita', role: 'read_only' });
  const { operations } = world.clients();
  const figures = await operations.getMetrics({ fromDay: '2027-03-01', toDay: '2027-03-10' }, { token });
  const { active, pastDue, ending, complimentary } = figures.counts!;
  t.deepEqual([active, pastDue, ending, complimentary], [7n, 1n, 2n, 1n]);
  t.deepEqual(
    figures.monthlyRecurringRevenue.map(({ currencyCode, amountMinor }) => [currencyCode, amountMinor]),
    [
      ['JPY', 333n],
      ['RUB', 84_717n],
    ],
  );
  // Of the paid ones taken out before 1 March: kept, year, quarter ×2, flagged, owing, and the three that ended in it.
  t.is(figures.activeAtStartCount, 9n);
  t.deepEqual([figures.churnedVoluntaryCount, figures.churnedInvoluntaryCount], [1n, 2n]);
  t.deepEqual([figures.declinedRenewalCount, figures.recoveredRenewalCount], [2n, 1n]);
  t.deepEqual(
    figures.revenue.map(({ day, charged, refunded, paymentCount }) => [
      day,
      charged!.currencyCode,
      charged!.amountMinor,
      refunded!.amountMinor,
      paymentCount,
    ]),
    [
      ['2027-03-04', 'RUB', 29_900n, 0n, 1n],
      ['2027-03-05', 'JPY', 1_000n, 0n, 1n],
      ['2027-03-05', 'RUB', 29_900n, 9_900n, 1n],
    ],
  );
  t.is(figures.timeZone, 'Europe/Moscow');
  const spanOf = async (fromDay: string, toDay: string) =>
    (await t.throwsAsync(operations.getMetrics({ fromDay, toDay }, { token }), { instanceOf: RpcError }))!.reason;
  t.is(await spanOf('2027-03-10', '2027-03-01'), 'INVALID_FIELDS');
  t.is(await spanOf('2025-03-10', '2027-03-01'), 'INVALID_FIELDS');
  t.is(await spanOf('2027-02-30', '2027-03-01'), 'INVALID_FIELDS');
});
