import { randomUUID } from 'node:crypto';
import test from 'ava';
import { startWorld, type World } from '../testing/world.ts';
import { waitUntil } from '../testing/wait-until.ts';

const due = 500;

/** Copies a paid subscription, with its saved method at the payment system, for many more users. */
async function plantDue(world: World): Promise<void> {
  const { subscriptionId } = await world.subscriber();
  // One saved method serves them all: what is counted is charges per reference at the payment system.
  await world.query(`alter table payment_method drop constraint payment_method_of_provider`);
  for (let n = 1; n < due; n++) {
    const [userId, methodId, id] = [randomUUID(), randomUUID(), randomUUID()];
    await world.query(`insert into customer values ($1, now())`, [userId]);
    await world.query(
      `insert into payment_method select $2, $1, provider, merchant_account, provider_customer_id, provider_method_id,
         brand, last4, expiry_month, expiry_year, created_at from payment_method limit 1`,
      [userId, methodId],
    );
    await world.query(
      `insert into subscription (id, user_id, plan_id, price_id, product_line, status, billing_time_zone, anchor_at,
         current_period_start, current_period_end, payment_method_id, next_charge_at, created_at)
       select $1, $2, plan_id, price_id, product_line, status, billing_time_zone, anchor_at, current_period_start,
         current_period_end, $3, next_charge_at, created_at from subscription where id = $4`,
      [id, userId, methodId, subscriptionId],
    );
  }
}

test('two replicas on one database charge 500 due subscriptions once each', async (t) => {
  const world = await startWorld({ env: { BILLING_LOG_LEVEL: 'warn' } });
  try {
    await plantDue(world);
    await world.startReplica();
    await world.query(`update sandbox_clock set set_to = (select max(next_charge_at) from subscription)`);
    await waitUntil(
      'all are renewed',
      async () => {
        const [row] = await world.query(
          `select count(*)::int as n from subscription where cycle = 1 and open_payment_id is null`,
        );
        return row!['n'] === due;
      },
      60_000,
    );
    const renewals = (await world.paymentSystem.payments()).filter(({ kind }) => kind === 'off_session');
    t.is(renewals.length, due);
    t.is(new Set(renewals.map(({ reference }) => reference)).size, due);
    const attempts = await world.query(
      `select count(distinct subscription_id)::int as subscriptions, count(*)::int as attempts from payment_attempt
       where kind = 'charge' and id::text = any($1)`,
      [renewals.map(({ reference }) => reference)],
    );
    t.deepEqual(attempts, [{ subscriptions: due, attempts: due }]);
  } finally {
    await world.stop();
  }
});
