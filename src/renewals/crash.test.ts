import test from 'ava';
import { startWorld } from '../testing/world.ts';
import { waitUntil } from '../testing/wait-until.ts';

const neverAnswers = '4000000000009987';

test('killed between the charge and the settle, the service ends with one charge and the period advanced once', async (t) => {
  const world = await startWorld();
  try {
    // The payment system charges and never answers, so that the settle cannot have happened when the kill comes.
    const { userId, subscriptionId } = await world.subscriber(neverAnswers);
    const charges = async () =>
      (await world.paymentSystem.payments()).filter(
        (payment) => payment.customer_reference === userId && payment.kind === 'off_session',
      );
    const attempt = async () => {
      const [row] = await world.query(
        `select state, settled_at from payment_attempt where subscription_id = $1 and kind = 'charge'`,
        [subscriptionId],
      );
      return row;
    };
    // No notice may settle it before the kill.
    world.webhooks.open = false;
    await world.query(`update sandbox_clock set set_to = (select max(next_charge_at) from subscription)`);
    await waitUntil('the ledger has the charge', async () => (await charges()).length === 1);
    const unsettled = await attempt();
    await world.service.kill();
    t.is((await charges()).length, 1);
    t.is(unsettled!['state'], 'SENT');
    t.is((await attempt())!['settled_at'], null);
    const [before] = await world.query(`select cycle from subscription where id = $1`, [subscriptionId]);
    t.is(before!['cycle'], 0);

    world.service = await world.startReplica();
    world.webhooks.open = true;
    await world.advance({ hours: 1 });
    const [after] = await world.query(
      `select cycle, status, current_period_start::text as start, open_payment_id as open from subscription where id = $1`,
      [subscriptionId],
    );
    t.deepEqual(after, { cycle: 1, status: 'ACTIVE', start: '2027-02-15 09:00:00+00', open: null });
    t.is((await charges()).length, 1);
    const [renewals] = await world.query(
      `select count(*)::int as n from subscription_event where subscription_id = $1 and kind = 'RENEWED'`,
      [subscriptionId],
    );
    t.is(renewals!['n'], 1);
  } finally {
    await world.stop();
  }
});
