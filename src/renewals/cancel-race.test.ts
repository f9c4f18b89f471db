import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import test from 'ava';
import { sendRefunds } from '../payments/send-refunds.ts';
import { cancelSubscription } from '../subscriptions/cancel-subscription.ts';
import { openDomain } from '../testing/domain.ts';
import { copySubscription, startWorld } from '../testing/world.ts';
import { renewDue } from './renew-due.ts';

const rounds = process.env['BILLING_TEST_TIER'] === 'full' ? 600 : 60;
const offsetMaxMs = 25;

test('a cancellation racing the renewal ends in a legal order: nothing charged, or charged once and kept or given back', async (t) => {
  const world = await startWorld();
  const domain = await openDomain(world);
  try {
    const { subscriptionId } = await world.subscriber();
    await world.service.stop();
    const outcomes: Record<string, number> = {};
    for (let round = 0; round < rounds; round++) {
      const id = await copySubscription(world, subscriptionId);
      await world.query(`update subscription set next_charge_at = business_now() where id = $1`, [id]);
      const cancelFirst = round % 2 === 0;
      const offsetMs = Math.random() * offsetMaxMs;
      const effective = round % 3 === 0 ? 'at-period-end' : 'now';
      await Promise.all([
        pause(cancelFirst ? offsetMs : 0).then(() => renewDue(domain.ctx)),
        pause(cancelFirst ? 0 : offsetMs).then(() =>
          cancelSubscription(domain.ctx, {
            requestId: randomUUID(),
            subscriptionId: id,
            effective,
            reason: '',
            refund: 'policy',
          }),
        ),
      ]);
      await sendRefunds(domain.ctx);
      const [row] = await world.query(
        `select s.status, s.cycle, s.open_payment_id as open, a.id as attempt, a.state, a.surplus
         from subscription s left join payment_attempt a on a.subscription_id = s.id where s.id = $1`,
        [id],
      );
      const charges = (await world.paymentSystem.payments()).filter(({ reference }) => reference === row!['attempt']);
      const charged =
        charges.length === 1 ? `charged, ${charges[0]!.refunded_minor} back` : `${charges.length} charges`;
      const outcome = `${row!['status']} ${row!['cycle']} ${row!['state'] ?? 'no attempt'}: ${charged}`;
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
      t.is(row!['open'], null);
    }
    t.log(outcomes);
    const legal = new Set([
      'CANCELED 0 no attempt: 0 charges',
      'CANCELED 0 DEAD: 0 charges',
      'CANCELED 0 SUCCEEDED: charged, 29900 back',
      'CANCELED 1 SUCCEEDED: charged, 0 back',
      'ACTIVE 0 no attempt: 0 charges',
      'ACTIVE 0 DEAD: 0 charges',
      'ACTIVE 1 SUCCEEDED: charged, 0 back',
    ]);
    t.deepEqual(
      Object.keys(outcomes).filter((outcome) => !legal.has(outcome)),
      [],
    );
    t.true(Object.keys(outcomes).length >= 4, 'the race was never close enough to mean anything');
  } finally {
    await domain.stop();
    await world.stop();
  }
});
