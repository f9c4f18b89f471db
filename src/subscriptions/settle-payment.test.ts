import { randomUUID } from 'node:crypto';
import test from 'ava';
import { verifyLedger } from '../ledger/verify-ledger.ts';
import { markSent } from '../payments/attempt-rows.ts';
import { claimDue } from '../renewals/claim-due.ts';
import { openDomain, type Domain } from '../testing/domain.ts';
import { startWorld, type World } from '../testing/world.ts';
import { cancelSubscription } from './cancel-subscription.ts';
import { settlePayments } from './settle-payment.ts';

let world: World;
let domain: Domain;
test.before(async () => {
  world = await startWorld();
});
test.beforeEach(async () => {
  domain = await openDomain(world);
});
test.afterEach.always(async () => {
  await domain?.stop();
});
test.after.always(() => world?.stop());

/** A renewal that is claimed and not yet sent. The service must not do it first: it is stopped meanwhile. */
async function claimed(): Promise<{ subscriptionId: string; attemptId: string; userId: string }> {
  const { subscriptionId, userId } = await world.subscriber();
  await world.service.stop();
  await world.query(`update sandbox_clock set set_to = (select next_charge_at from subscription where id = $1)`, [
    subscriptionId,
  ]);
  const attempt = (await claimDue(domain.ctx)).find((row) => row.subscriptionId === subscriptionId);
  return { subscriptionId, attemptId: attempt!.id, userId };
}

async function attemptState(attemptId: string): Promise<unknown> {
  const [row] = await world.query(`select state from payment_attempt where id = $1`, [attemptId]);
  return row!['state'];
}

const cancelNow = (subscriptionId: string) =>
  cancelSubscription(domain.ctx, {
    requestId: randomUUID(),
    subscriptionId,
    effective: 'now',
    reason: '',
    refund: 'policy',
  });

test.serial(
  'a charge that was not sent is voided by a cancellation, and the last look then sends nothing',
  async (t) => {
    const { subscriptionId, attemptId } = await claimed();
    await cancelNow(subscriptionId);
    t.is(await attemptState(attemptId), 'DEAD');
    t.deepEqual(await markSent(domain.orm.em.fork(), [{ id: attemptId, state: 'PENDING' }]), new Set());
    const [payment] = await world.query(
      `select status from payment where subscription_id = $1 and purpose = 'cycle:1'`,
      [subscriptionId],
    );
    t.is(payment!['status'], 'VOID');
    world.service = await world.startReplica();
  },
);

test.serial('a first call that was not executed, or refused for a fault of ours, was certainly not sent', async (t) => {
  const { attemptId } = await claimed();
  for (const outcome of [
    { kind: 'not executed', note: '', retryAfterMs: undefined },
    { kind: 'refused', note: '' },
  ] as const) {
    await markSent(domain.orm.em.fork(), [{ id: attemptId, state: 'PENDING' }]);
    t.is(await attemptState(attemptId), 'SENT');
    await settlePayments(domain.ctx, [{ attemptId, outcome }]);
    t.is(await attemptState(attemptId), 'PENDING', outcome.kind);
  }
  world.service = await world.startReplica();
});

test.serial(
  'a success that nobody waits for any more is surplus: it changes neither the subscription nor the rights',
  async (t) => {
    const { subscriptionId, attemptId, userId } = await claimed();
    await markSent(domain.orm.em.fork(), [{ id: attemptId, state: 'PENDING' }]);
    await cancelNow(subscriptionId);
    const before = await world.query(
      `select s.*, e.version from subscription s join entitlement e using (user_id) where user_id = $1`,
      [userId],
    );
    const success = {
      kind: 'succeeded',
      providerPaymentId: 'pay_late',
      amount: { currencyCode: 'RUB', amountMinor: 29_900n },
      refundedMinor: 0n,
      method: undefined,
    } as const;
    t.deepEqual(await settlePayments(domain.ctx, [{ attemptId, outcome: success }]), ['surplus']);
    t.deepEqual(await settlePayments(domain.ctx, [{ attemptId, outcome: success }]), ['already settled']);
    t.deepEqual(
      await world.query(
        `select s.*, e.version from subscription s join entitlement e using (user_id) where user_id = $1`,
        [userId],
      ),
      before,
    );
    const [attempt] = await world.query(`select state, surplus from payment_attempt where id = $1`, [attemptId]);
    t.deepEqual(attempt, { state: 'SUCCEEDED', surplus: true });
    world.service = await world.startReplica();
  },
);

test.serial('another amount than was owed is not believed: the attempt is parked and the period stays', async (t) => {
  const { subscriptionId, attemptId } = await claimed();
  await markSent(domain.orm.em.fork(), [{ id: attemptId, state: 'PENDING' }]);
  for (const amount of [
    { currencyCode: 'RUB', amountMinor: 29_901n },
    { currencyCode: 'USD', amountMinor: 29_900n },
  ]) {
    const outcome = {
      kind: 'succeeded',
      providerPaymentId: 'pay_odd',
      amount,
      refundedMinor: 0n,
      method: undefined,
    } as const;
    t.deepEqual(await settlePayments(domain.ctx, [{ attemptId, outcome }]), ['mismatch']);
  }
  t.is(await attemptState(attemptId), 'PARKED');
  const [row] = await world.query(`select cycle from subscription where id = $1`, [subscriptionId]);
  t.is(row!['cycle'], 0);
  world.service = await world.startReplica();
});

test.serial('another amount that comes after we gave up is in the books, and all of it goes back', async (t) => {
  const { subscriptionId, attemptId } = await claimed();
  await markSent(domain.orm.em.fork(), [{ id: attemptId, state: 'PENDING' }]);
  await cancelNow(subscriptionId);
  await world.query(
    `update payment_attempt set state = 'DEAD', settled_at = business_now(), next_check_at = null where id = $1`,
    [attemptId],
  );
  const amount = { currencyCode: 'RUB', amountMinor: 31_000n };
  const outcome = {
    kind: 'succeeded',
    providerPaymentId: 'pay_other_amount',
    amount,
    refundedMinor: 0n,
    method: undefined,
  } as const;
  t.deepEqual(await settlePayments(domain.ctx, [{ attemptId, outcome }]), ['surplus']);
  t.deepEqual(await settlePayments(domain.ctx, [{ attemptId, outcome }]), ['already settled']);
  t.deepEqual(await world.query(`select amount_minor, reason from refund where attempt_id = $1`, [attemptId]), [
    { amount_minor: '31000', reason: 'SURPLUS' },
  ]);
  t.deepEqual(await world.query(`select kind, amount_minor from journal_fact where attempt_id = $1`, [attemptId]), [
    { kind: 'CHARGED', amount_minor: '31000' },
  ]);
  const { list } = await verifyLedger(domain.ctx);
  t.deepEqual(
    list.filter(({ what }) => what.includes(attemptId)),
    [],
  );
  world.service = await world.startReplica();
});

test.serial('money that the provider took twice for one attempt goes back once', async (t) => {
  const { subscriptionId, attemptId } = await claimed();
  const success = (providerPaymentId: string, amountMinor: bigint) =>
    ({
      attemptId,
      outcome: {
        kind: 'succeeded',
        providerPaymentId,
        amount: { currencyCode: 'RUB', amountMinor },
        refundedMinor: 0n,
        method: undefined,
      },
    }) as const;
  await markSent(domain.orm.em.fork(), [{ id: attemptId, state: 'PENDING' }]);
  t.deepEqual(await settlePayments(domain.ctx, [success('pay_first', 29_900n)]), ['settled']);
  t.deepEqual(await settlePayments(domain.ctx, [success('pay_second', 29_900n)]), ['surplus']);
  t.deepEqual(await settlePayments(domain.ctx, [success('pay_second', 29_900n)]), ['surplus']);
  t.deepEqual(await settlePayments(domain.ctx, [success('pay_first', 29_900n)]), ['already settled']);
  const refunds = await world.query(
    `select provider_payment_id as of, amount_minor as amount from refund where attempt_id = $1`,
    [attemptId],
  );
  t.deepEqual(refunds, [{ of: 'pay_second', amount: '29900' }]);
  const [row] = await world.query(`select cycle from subscription where id = $1`, [subscriptionId]);
  t.is(row!['cycle'], 1);
  world.service = await world.startReplica();
});
