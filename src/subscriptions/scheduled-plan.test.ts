import { randomUUID } from 'node:crypto';
import test from 'ava';
import { PlanChangeOutcome, PlanChangeTiming } from '@cinema-billing/gen/billing/v1/subscription_service_pb.ts';
import { SubscriptionStatus } from '@cinema-billing/gen/billing/v1/subscription_pb.ts';
import { RpcError } from '../cli/grpc-client.ts';
import { verifyLedger } from '../ledger/verify-ledger.ts';
import { viewerWith } from '../testing/changing-viewer.ts';
import { openDomain, type Domain } from '../testing/domain.ts';
import { startWorld, type World } from '../testing/world.ts';

let world: World;
let domain: Domain;
const prices = { plus: randomUUID(), weekly: randomUUID(), yearly: randomUUID(), dollars: randomUUID() };
test.before(async () => {
  world = await startWorld();
  domain = await openDomain(world);
  const add = (id: string, currency: string, amount: number, unit: string, count: number) =>
    world.query(`insert into price select $1, plan_id, $3, $4, $5, $6, created_at from price where id = $2`, [
      id,
      world.prices.premium,
      currency,
      amount,
      unit,
      count,
    ]);
  await add(prices.plus, 'RUB', 19_900, 'month', 1);
  await add(prices.weekly, 'RUB', 9_900, 'week', 3);
  await add(prices.yearly, 'RUB', 299_000, 'year', 1);
  await add(prices.dollars, 'USD', 999, 'month', 1);
});
test.after.always(async () => {
  await domain?.stop();
  await world?.stop();
});

const softLater = '4000000000000341';
const allFeatures = ['catalog.base', 'catalog.premieres', 'video.uhd'];

test.serial('a downgrade waits for the end of the period, and then the new price is charged', async (t) => {
  const viewer = await viewerWith(t, world);
  const { change, outcome, subscription } = await viewer.change(prices.plus);
  t.deepEqual([outcome, change!.timing], [PlanChangeOutcome.SCHEDULED, PlanChangeTiming.AT_PERIOD_END]);
  t.deepEqual(change!.effectiveAt, subscription!.currentPeriodEnd);
  t.like(subscription, { planCode: 'basic', scheduledPriceId: prices.plus });
  const { change: shown } = await viewer.preview(prices.plus);
  t.deepEqual({ ...shown, prorationAt: undefined }, { ...change, prorationAt: undefined });
  await world.advance({ days: 30 });
  t.is((await viewer.seen()).planCode, 'basic');
  await world.advance({ days: 2 });
  t.like(await viewer.seen(), { planCode: 'premium', scheduledPriceId: '', status: SubscriptionStatus.ACTIVE });
  t.deepEqual(await viewer.charged(), [19_900]);
  t.deepEqual((await viewer.authSees(3)).features, allFeatures);
  t.deepEqual(await viewer.history(), ['SUBSCRIBED', 'ACTIVATED', 'PLAN_CHANGE_SCHEDULED', 'PLAN_CHANGED', 'RENEWED']);
});

test.serial(
  'the boundary decides, not the payment: a declined renewal owes the new price, on the new plan',
  async (t) => {
    const viewer = await viewerWith(t, world, softLater);
    await viewer.change(prices.plus);
    await world.advance({ days: 32 });
    t.like(await viewer.seen(), { planCode: 'premium', status: SubscriptionStatus.PAST_DUE });
    const [owed] = await world.query(
      `select amount_minor as owed from payment where subscription_id = $1 and status = 'PENDING'`,
      [viewer.subscriptionId],
    );
    t.deepEqual(owed, { owed: '19900' });
    const error = await t.throwsAsync(viewer.change(world.prices.basic), { instanceOf: RpcError });
    t.is(error!.reason, 'ILLEGAL_TRANSITION');
  },
);

test.serial('another interval is counted from the boundary on', async (t) => {
  const viewer = await viewerWith(t, world);
  const before = await viewer.seen();
  await viewer.change(prices.weekly);
  await world.advance({ days: 33 });
  const after = await viewer.seen();
  t.deepEqual(after.currentPeriodStart, before.currentPeriodEnd);
  t.is(after.currentPeriodEnd!.seconds - after.currentPeriodStart!.seconds, 21n * 86_400n);
  await world.advance({ days: 21 });
  t.deepEqual(await viewer.charged(), [9_900, 9_900]);
  const { list, holds } = await verifyLedger(domain.ctx);
  t.deepEqual([list, holds], [[], true]);
});

test.serial('a later change replaces the one to come, and the present price drops it', async (t) => {
  const viewer = await viewerWith(t, world);
  await viewer.change(prices.plus);
  await viewer.change(prices.weekly);
  t.is((await viewer.seen()).scheduledPriceId, prices.weekly);
  t.is((await viewer.change(world.prices.basic)).outcome, PlanChangeOutcome.DROPPED);
  t.is((await viewer.seen()).scheduledPriceId, '');
  await viewer.change(prices.plus);
  t.is((await viewer.change(world.prices.premium)).outcome, PlanChangeOutcome.APPLIED);
  t.like(await viewer.seen(), { planCode: 'premium', scheduledPriceId: '' });
  const [, charge] = [await world.advance({ days: 32 }), await viewer.charged()];
  t.is(charge.at(-1), 99_900);
});

test.serial('a cancellation drops the change to come; its undoing does not bring it back', async (t) => {
  const viewer = await viewerWith(t, world);
  await viewer.change(prices.plus);
  const { subscriptionId, token, subscriptions } = viewer;
  await subscriptions.cancelSubscription({ requestId: randomUUID(), subscriptionId }, { token });
  t.is((await viewer.seen()).scheduledPriceId, '');
  const flagged = await t.throwsAsync(viewer.change(prices.plus), { instanceOf: RpcError });
  t.is(flagged!.reason, 'ILLEGAL_TRANSITION');
  await subscriptions.resumeSubscription({ requestId: randomUUID(), subscriptionId }, { token });
  await world.advance({ days: 32 });
  t.deepEqual(await viewer.charged(), [29_900]);
});

test.serial('only another price of the same product line and currency, that is on sale, can be had', async (t) => {
  const viewer = await viewerWith(t, world);
  const [planId, elsewhere] = [randomUUID(), randomUUID()];
  await world.query(`insert into plan values ($1, 'sport', 'Sport', '', '{}', 'sport', null, '2027-01-01')`, [planId]);
  await world.query(`insert into price values ($1, $2, 'RUB', 99900, 'month', 1, '2027-01-01')`, [elsewhere, planId]);
  const refusalOf = async (priceId: string) => {
    const error = await t.throwsAsync(viewer.preview(priceId), { instanceOf: RpcError });
    return [error!.reason, error!.message.replace(/^.*: /, '')];
  };
  t.deepEqual(await refusalOf(world.prices.basic), ['PRICE_NOT_ELIGIBLE', 'the subscription has this very price']);
  t.deepEqual(await refusalOf(prices.dollars), ['PRICE_NOT_ELIGIBLE', 'the price is in another currency']);
  t.deepEqual(await refusalOf(elsewhere), ['PRICE_NOT_ELIGIBLE', 'the plan is of another product line']);
  t.deepEqual(await refusalOf(randomUUID()), ['PLAN_NOT_FOUND', 'no such plan is on sale']);
});

test.serial('a preview that is too old, or of another time, is not charged by', async (t) => {
  const viewer = await viewerWith(t, world);
  const { change } = await viewer.preview(world.prices.premium);
  const { seconds } = change!.prorationAt!;
  const refusalAt = async (at: bigint) => {
    const asked = { ...viewer.requestOf(world.prices.premium), prorationAt: { seconds: at, nanos: 0 } };
    const error = await t.throwsAsync(viewer.subscriptions.changePlan(asked, { token: viewer.token }), {
      instanceOf: RpcError,
    });
    return error!.reason;
  };
  t.is(await refusalAt(seconds + 60n), 'PRORATION_EXPIRED');
  t.is(await refusalAt(seconds - 60n), 'PRORATION_EXPIRED');
  await world.advance({ hours: 1 });
  t.is(await refusalAt(seconds), 'PRORATION_EXPIRED');
  t.deepEqual(await viewer.charged(), []);
});

test.serial('in a trial the change is free and at once, and the first charge is the new price', async (t) => {
  await world.query(`update plan set trial_days = 14 where code = 'basic'`);
  t.teardown(() => world.query(`update plan set trial_days = 0 where code = 'basic'`));
  const viewer = await viewerWith(t, world, undefined, { withTrial: true });
  const before = await viewer.seen();
  t.is(before.status, SubscriptionStatus.TRIALING);
  const { outcome, change } = await viewer.change(prices.yearly);
  t.deepEqual([outcome, change!.due!.amountMinor], [PlanChangeOutcome.APPLIED, 0n]);
  const after = await viewer.seen();
  t.deepEqual([after.planCode, after.currentPeriodEnd], ['premium', before.currentPeriodEnd]);
  t.deepEqual((await viewer.authSees(2)).features, allFeatures);
  await world.advance({ days: 15 });
  t.deepEqual(await viewer.charged(), [299_000]);
  t.is((await viewer.seen()).status, SubscriptionStatus.ACTIVE);
});

test.serial('a plan that somebody will change to is not deleted under them', async (t) => {
  const viewer = await viewerWith(t, world);
  const [planId, priceId] = [randomUUID(), randomUUID()];
  await world.query(`insert into plan values ($1, 'lite', 'Lite', '', '{}', 'cinema', null, '2027-01-01')`, [planId]);
  await world.query(`insert into price values ($1, $2, 'RUB', 9900, 'month', 1, '2027-01-01')`, [priceId, planId]);
  await viewer.change(priceId);
  const { planAdmin } = world.clients();
  t.teardown(() => planAdmin.close());
  const admin = { token: await world.auth.token({ sub: 'olga', role: 'admin' }) };
  const { plan } = await planAdmin.getPlan({ planId }, admin);
  const asked = { requestId: randomUUID(), reason: 'never sold', planId, etag: plan!.etag };
  const error = await t.throwsAsync(planAdmin.deletePlan(asked, admin), { instanceOf: RpcError });
  t.is(error!.reason, 'PLAN_IN_USE');
  await world.advance({ days: 32 });
  t.is((await viewer.seen()).planCode, 'lite');
});
