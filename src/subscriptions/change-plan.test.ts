import { randomUUID } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import { PlanChangeOutcome, PlanChangeTiming } from '@cinema-billing/gen/billing/v1/subscription_service_pb.ts';
import { SubscriptionEventKind, SubscriptionStatus } from '@cinema-billing/gen/billing/v1/subscription_pb.ts';
import { timestampDate } from '@bufbuild/protobuf/wkt';
import { RpcError } from '../cli/grpc-client.ts';
import { verifyLedger } from '../ledger/verify-ledger.ts';
import { refundPayment } from '../payments/refund-payment.ts';
import { openDomain, type Domain } from '../testing/domain.ts';
import { viewerWith } from '../testing/changing-viewer.ts';
import { waitUntil } from '../testing/wait-until.ts';
import { startWorld, type World } from '../testing/world.ts';

let world: World;
let domain: Domain;
let premiumYearly: string;
test.before(async () => {
  world = await startWorld();
  domain = await openDomain(world);
  premiumYearly = randomUUID();
  await world.query(
    `insert into price select $1, plan_id, 'RUB', 999000, 'year', 1, created_at from price where id = $2`,
    [premiumYearly, world.prices.premium],
  );
});
test.after.always(async () => {
  await domain?.stop();
  await world?.stop();
});

const softLater = '4000000000000341';
const actionLater = '4000000000003220';
const allFeatures = ['catalog.base', 'catalog.premieres', 'video.uhd'];

async function refusal(t: ExecutionContext, call: Promise<unknown>): Promise<string> {
  const error = await t.throwsAsync(call, { instanceOf: RpcError });
  return error!.reason;
}

const minor = (money: { amountMinor: bigint } | undefined) => money?.amountMinor;

test.serial(
  'an upgrade costs what the preview said, to the kopeck, and the new features are there at once',
  async (t) => {
    const viewer = await viewerWith(t, world);
    // 15 January, 09:00, to 15 February: 31 days; after 10 of them 21/31 are left.
    await world.advance({ days: 10 });
    const { change } = await viewer.preview(world.prices.premium);
    // 29,900 × 21/31 = 20,254.84; 99,900 × 21/31 = 67,674.19.
    t.deepEqual([minor(change!.credit), minor(change!.charge), minor(change!.due)], [20_255n, 67_674n, 47_419n]);
    t.is(change!.timing, PlanChangeTiming.NOW);
    await world.advance({ hours: 0.2 });
    const { prorationAt } = change!;
    const asked = { ...viewer.requestOf(world.prices.premium), prorationAt: prorationAt! };
    const changed = await viewer.subscriptions.changePlan(asked, { token: viewer.token });
    t.is(changed.outcome, PlanChangeOutcome.APPLIED);
    t.deepEqual(changed.change, change);
    t.deepEqual(await viewer.charged(), [47_419]);
    t.like(await viewer.seen(), { planCode: 'premium', status: SubscriptionStatus.ACTIVE });
    t.deepEqual(await viewer.authSees(2), { features: allFeatures, revokedAt: 2 });
    t.deepEqual(await viewer.history(), ['SUBSCRIBED', 'ACTIVATED', 'PLAN_CHANGE_STARTED', 'PLAN_CHANGED']);
    t.deepEqual(await viewer.subscriptions.changePlan(asked, { token: viewer.token }), changed);
    t.deepEqual(await viewer.charged(), [47_419]);
    await world.advance({ days: 22 });
    t.deepEqual(await viewer.charged(), [47_419, 99_900]);
    const { list, holds } = await verifyLedger(domain.ctx);
    t.deepEqual([list, holds], [[], true]);
  },
);

test.serial('monthly to yearly: a new year begins with the payment, and the old month counts', async (t) => {
  const viewer = await viewerWith(t, world);
  await world.advance({ days: 1 });
  const before = await viewer.seen();
  const { change, outcome } = await viewer.change(premiumYearly);
  t.is(outcome, PlanChangeOutcome.APPLIED);
  const days =
    (timestampDate(before.currentPeriodEnd!).getTime() - timestampDate(before.currentPeriodStart!).getTime()) /
    86_400_000;
  t.is(minor(change!.credit), BigInt(Math.round((29_900 * (days - 1)) / days)));
  t.is(minor(change!.due), 999_000n - minor(change!.credit)!);
  t.deepEqual(await viewer.charged(), [Number(minor(change!.due))]);
  const after = await viewer.seen();
  t.deepEqual(after.currentPeriodStart, change!.prorationAt);
  t.deepEqual(after.nextChargeAt, after.currentPeriodEnd);
  const [row] = await world.query(
    `select anchor_at = current_period_start as anchored, anchor_cycle = cycle and cycle = 1 as counted,
       current_period_end = current_period_start + interval '1 year' as year from subscription where id = $1`,
    [viewer.subscriptionId],
  );
  t.deepEqual(row, { anchored: true, counted: true, year: true });
  const { list, holds } = await verifyLedger(domain.ctx);
  t.deepEqual([list, holds], [[], true]);
});

test.serial('after a partial refund only what stayed is taken off', async (t) => {
  const viewer = await viewerWith(t, world);
  const [payment] = await world.query(`select id from payment where subscription_id = $1`, [viewer.subscriptionId]);
  const asked = { requestId: randomUUID(), paymentId: payment!['id'] as string, reason: 'sorry', amountMinor: 10_000n };
  await refundPayment(domain.ctx, { ...asked, validateOnly: false });
  await world.advance({ hours: 1 });
  const [left] = await world.query(
    `select extract(epoch from current_period_end - business_now())::int as s,
       extract(epoch from current_period_end - current_period_start)::int as total from subscription where id = $1`,
    [viewer.subscriptionId],
  );
  const part = (amount: number) => BigInt(Math.round((amount * Number(left!['s'])) / Number(left!['total'])));
  const { change } = await viewer.preview(world.prices.premium);
  t.deepEqual([minor(change!.credit), minor(change!.charge)], [part(19_900), part(99_900)]);
});

test.serial('a declined upgrade leaves the old plan, owes nothing, and may be tried again', async (t) => {
  const viewer = await viewerWith(t, world, softLater);
  const { outcome, declineCode, subscription } = await viewer.change(world.prices.premium);
  t.deepEqual([outcome, declineCode], [PlanChangeOutcome.PAYMENT_FAILED, 'insufficient_funds']);
  t.like(subscription, { planCode: 'basic', status: SubscriptionStatus.ACTIVE });
  t.deepEqual(await viewer.charged(), []);
  t.deepEqual(await viewer.history(), ['SUBSCRIBED', 'ACTIVATED', 'PLAN_CHANGE_STARTED', 'PLAN_CHANGE_FAILED']);
  t.is((await viewer.change(world.prices.premium)).outcome, PlanChangeOutcome.PAYMENT_FAILED);
  const { events } = await viewer.subscriptions.listSubscriptionEvents(
    { subscriptionId: viewer.subscriptionId },
    { token: viewer.token },
  );
  t.is(events[0]!.kind, SubscriptionEventKind.PLAN_CHANGE_FAILED);
  t.deepEqual(await viewer.statuses(), ['declined', 'declined']);
});

test.serial(
  'an upgrade that the viewer has to confirm applies when they do; meanwhile nothing else begins',
  async (t) => {
    const viewer = await viewerWith(t, world, actionLater);
    const asked = viewer.requestOf(world.prices.premium);
    const waiting = await viewer.subscriptions.changePlan(asked, { token: viewer.token });
    t.is(waiting.outcome, PlanChangeOutcome.PAYMENT_PENDING);
    t.like(await viewer.seen(), { planCode: 'basic', status: SubscriptionStatus.ACTIVE });
    t.is(await refusal(t, viewer.change(premiumYearly)), 'PAYMENT_OUTCOME_PENDING');
    t.is(await refusal(t, viewer.preview(premiumYearly)), 'PAYMENT_OUTCOME_PENDING');
    await world.paymentSystem.confirm(waiting.actionUrl);
    await waitUntil('the plan changes', async () => (await viewer.seen()).planCode === 'premium');
    t.deepEqual(await viewer.charged(), [Number(minor(waiting.change!.due))]);
    t.deepEqual((await viewer.authSees(2)).features, allFeatures);
    // The stored answer, byte for byte, though the plan has changed since.
    t.deepEqual(await viewer.subscriptions.changePlan(asked, { token: viewer.token }), waiting);
  },
);

test.serial('an upgrade that nobody confirms is given up after an hour, and cannot be paid afterwards', async (t) => {
  const viewer = await viewerWith(t, world, actionLater);
  const waiting = await viewer.change(world.prices.premium);
  await world.advance({ hours: 1 });
  t.deepEqual(await viewer.history(), ['SUBSCRIBED', 'ACTIVATED', 'PLAN_CHANGE_STARTED', 'PLAN_CHANGE_FAILED']);
  await world.paymentSystem.confirm(waiting.actionUrl).catch(() => undefined);
  await world.advance({ hours: 1 });
  t.is((await viewer.seen()).planCode, 'basic');
  t.deepEqual(await viewer.charged(), []);
  t.false((await viewer.statuses()).includes('requires_action'));
});

test.serial('an upgrade near the end of the period is given up with it: the renewal waits no longer', async (t) => {
  const viewer = await viewerWith(t, world);
  const [row] = await world.query(
    `select extract(epoch from current_period_end - business_now()) / 3600 - 0.5 as hours from subscription where id = $1`,
    [viewer.subscriptionId],
  );
  await world.advance({ hours: Number(row!['hours']) });
  await world.paymentSystem.script(viewer.userId, { charges: [{ outcome: 'action_required' }] });
  const waiting = await viewer.change(world.prices.premium);
  t.is(waiting.outcome, PlanChangeOutcome.PAYMENT_PENDING);
  await world.advance({ hours: 0.5 });
  const [renewed] = await world.query(`select cycle, open_payment_id as open from subscription where id = $1`, [
    viewer.subscriptionId,
  ]);
  t.deepEqual(renewed, { cycle: 1, open: null });
  t.deepEqual(await viewer.charged(), [29_900]);
});
