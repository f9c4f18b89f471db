import test from 'ava';
import { copySubscription, startWorld } from '../testing/world.ts';
import { waitUntil } from '../testing/wait-until.ts';

const due = 500;

test('two replicas on one database charge 500 due subscriptions once each', async (t) => {
  const world = await startWorld({ env: { BILLING_LOG_LEVEL: 'warn' } });
  try {
    const { subscriptionId } = await world.subscriber();
    for (let n = 1; n < due; n++) await copySubscription(world, subscriptionId);
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
