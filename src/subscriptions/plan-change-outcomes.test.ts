import { randomUUID } from 'node:crypto';
import test from 'ava';
import { PlanChangeOutcome } from '@cinema-billing/gen/billing/v1/subscription_service_pb.ts';
import { SubscriptionStatus } from '@cinema-billing/gen/billing/v1/subscription_pb.ts';
import { RpcError } from '../cli/grpc-client.ts';
import { verifyLedger } from '../ledger/verify-ledger.ts';
import { encodeJson } from '../lib/json.ts';
import { viewerWith } from '../testing/changing-viewer.ts';
import { openDomain, type Domain } from '../testing/domain.ts';
import { startWorld, type World } from '../testing/world.ts';
import { cancelSubscription, previewCancellation } from './cancel-subscription.ts';
import { changePlan } from './change-plan.ts';

let world: World;
let domain: Domain;
test.before(async () => {
  world = await startWorld();
  domain = await openDomain(world);
});
test.after.always(async () => {
  await domain?.stop();
  await world?.stop();
});

const minutes = (count: number) => ({ hours: count / 60 });

test.serial(
  'an upgrade whose answer was lost is followed, and applies when it is certain; it is charged once',
  async (t) => {
    const viewer = await viewerWith(t, world);
    await world.paymentSystem.script(viewer.userId, { charges: [{ outcome: 'charged_500' }], webhooks: 'lost' });
    const asked = viewer.requestOf(world.prices.premium);
    const first = await viewer.subscriptions.changePlan(asked, { token: viewer.token });
    t.is(first.outcome, PlanChangeOutcome.PAYMENT_PENDING);
    const refused = await t.throwsAsync(viewer.change(world.prices.premium), { instanceOf: RpcError });
    t.is(refused!.reason, 'PAYMENT_OUTCOME_PENDING');
    t.is((await viewer.seen()).planCode, 'basic');
    await world.advance(minutes(1));
    t.is((await viewer.seen()).planCode, 'premium');
    t.deepEqual(await viewer.charged(), [70_000]);
  },
);

test.serial('an upgrade that the payment system would not take yet is sent again under the same key', async (t) => {
  const viewer = await viewerWith(t, world);
  await world.paymentSystem.script(viewer.userId, { charges: [{ outcome: 'rate_limited', times: 5 }] });
  const { outcome } = await viewer.change(world.prices.premium);
  t.is(outcome, PlanChangeOutcome.PAYMENT_PENDING);
  await world.advance(minutes(5));
  t.is((await viewer.seen()).planCode, 'premium');
  t.deepEqual(await viewer.statuses(), ['succeeded']);
});

test.serial('money that comes for an upgrade after it was given up goes back, once, and changes nothing', async (t) => {
  const viewer = await viewerWith(t, world);
  const [row] = await world.query(
    `select extract(epoch from current_period_end - business_now()) / 3600 - 0.5 as hours from subscription where id = $1`,
    [viewer.subscriptionId],
  );
  await world.advance({ hours: Number(row!['hours']) });
  // Takes an hour and succeeds then; the period ends in half an hour.
  await world.paymentSystem.script(viewer.userId, { charges: [{ outcome: 'processing' }] });
  t.is((await viewer.change(world.prices.premium)).outcome, PlanChangeOutcome.PAYMENT_PENDING);
  await world.advance({ hours: 3 });
  t.like(await viewer.seen(), { planCode: 'basic', status: SubscriptionStatus.ACTIVE });
  const taken = (await viewer.charged()).toSorted((a, b) => a - b);
  t.deepEqual(taken, [0, 29_900]);
  const { list, holds } = await verifyLedger(domain.ctx);
  t.deepEqual([list, holds], [[], true]);
});

test.serial(
  'cancel now while an upgrade’s outcome is unknown: access ends at once, and the money goes back',
  async (t) => {
    const viewer = await viewerWith(t, world);
    await world.paymentSystem.script(viewer.userId, { charges: [{ outcome: 'charged_500' }], webhooks: 'lost' });
    await viewer.change(world.prices.premium);
    const input = { subscriptionId: viewer.subscriptionId, effective: 'now', reason: '', refund: 'none' } as const;
    await cancelSubscription(domain.ctx, { requestId: randomUUID(), ...input });
    t.is((await viewer.seen()).status, SubscriptionStatus.CANCELED);
    await world.advance({ hours: 2 });
    t.like(await viewer.seen(), { planCode: 'basic', status: SubscriptionStatus.CANCELED });
    t.deepEqual(await viewer.charged(), [0]);
    t.deepEqual((await viewer.authSees(2)).features, []);
  },
);

test.serial('who repeats a call that died before the charge goes on with it: one payment, one charge', async (t) => {
  const viewer = await viewerWith(t, world);
  const ctx = { ...domain.ctx, actor: { kind: 'customer', id: viewer.userId } as const };
  const asked = { ...viewer.requestOf(world.prices.premium), prorationAt: undefined, reason: '' };
  const died = () => {
    throw new Error('the process died');
  };
  await t.throwsAsync(changePlan({ ...ctx, wake: died }, asked), { message: 'the process died' });
  t.deepEqual(await viewer.statuses(), []);
  await world.query(`update idempotent_request set lease_until = clock_timestamp()`);
  await world.query(`update payment_attempt set lease_until = clock_timestamp() where subscription_id = $1`, [
    viewer.subscriptionId,
  ]);
  const result = await changePlan(ctx, asked);
  t.deepEqual([result.outcome, result.quote.due.amountMinor], ['applied', 70_000n]);
  t.is(encodeJson(await changePlan(ctx, asked)), encodeJson(result));
  t.deepEqual(await viewer.charged(), [70_000]);
  const payments = await world.query(`select 1 from payment where subscription_id = $1`, [viewer.subscriptionId]);
  t.is(payments.length, 2);
});

test.serial(
  'after an upgrade a cancellation gives back the unused part of both payments, the last one first',
  async (t) => {
    const viewer = await viewerWith(t, world);
    // A period of 40 days, so that the parts can be written down.
    await world.query(
      `update subscription set current_period_start = business_now() - interval '20 days',
       current_period_end = business_now() + interval '20 days', next_charge_at = business_now() + interval '20 days'
     where id = $1`,
      [viewer.subscriptionId],
    );
    // Half of 299.00 is taken off half of 999.00.
    t.is((await viewer.change(world.prices.premium)).change!.due!.amountMinor, 35_000n);
    await world.advance({ days: 2 });
    const asked = { subscriptionId: viewer.subscriptionId, effective: 'now', reason: '' } as const;
    const backWith = async (refund: 'prorated' | 'full') =>
      (await previewCancellation(domain.ctx, { ...asked, refund })).refund?.amountMinor;
    // 18 of the 20 days that were bought for 499.50; and all that was paid: 299.00 and 350.00.
    t.is(await backWith('full'), 64_900n);
    t.is(await backWith('prorated'), 44_955n);
    await cancelSubscription(domain.ctx, { requestId: randomUUID(), ...asked, refund: 'prorated' });
    await world.advance({ hours: 1 });
    const back = (await world.paymentSystem.payments())
      .filter((payment) => payment.customer_reference === viewer.userId)
      .map(({ refunded_minor: refunded }) => Number(refunded));
    t.deepEqual(back, [9_955, 35_000]);
  },
);

test.serial('an upgrade that costs less than the payment system charges is free, and calls it not once', async (t) => {
  const viewer = await viewerWith(t, world);
  const [provider] = [...domain.ctx.providers.values()];
  const capabilities = { ...provider!.capabilities, minimumAmountMinor: () => 70_001n };
  const ctx = { ...domain.ctx, providers: new Map([[provider!.name, { ...provider!, capabilities }]]) };
  const asked = { ...viewer.requestOf(world.prices.premium), prorationAt: undefined, reason: '' };
  const { outcome, quote } = await changePlan(ctx, asked);
  t.deepEqual([outcome, quote.due.amountMinor, quote.credit.amountMinor], ['applied', 0n, 29_900n]);
  t.deepEqual(await viewer.statuses(), []);
  t.is((await viewer.seen()).planCode, 'premium');
  // What was waived was not paid: nothing but the 299.00 is ever taken off, or given back.
  const input = { subscriptionId: viewer.subscriptionId, effective: 'now', reason: '', refund: 'prorated' } as const;
  t.is((await previewCancellation(domain.ctx, input)).refund?.amountMinor, 29_900n);
});

test.serial('eight calls at once, to two replicas, charge one upgrade', async (t) => {
  const viewer = await viewerWith(t, world);
  const replica = await world.startReplica();
  const other = world.clients(replica).subscriptions;
  t.teardown(() => replica.stop());
  const calls = Array.from({ length: 8 }, (_, n) =>
    (n % 2 === 0 ? viewer.subscriptions : other).changePlan(viewer.requestOf(world.prices.premium), {
      token: viewer.token,
    }),
  );
  const settled = await Promise.allSettled(calls);
  const reasons = settled.flatMap((result) =>
    result.status === 'rejected' ? [(result.reason as RpcError).reason] : [],
  );
  t.is(reasons.length, 7);
  // Behind the one that won: its payment is under way, or it is done.
  t.deepEqual(
    reasons.filter((reason) => !['PAYMENT_OUTCOME_PENDING', 'PRICE_NOT_ELIGIBLE', 'LOCK_TIMEOUT'].includes(reason)),
    [],
  );
  t.deepEqual(await viewer.charged(), [70_000]);
  t.is((await viewer.seen()).planCode, 'premium');
});
