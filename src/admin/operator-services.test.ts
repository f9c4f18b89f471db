import { randomUUID } from 'node:crypto';
import test from 'ava';
import { AccessReason } from '@cinema-billing/gen/billing/admin/v1/customer_admin_service_pb.ts';
import {
  RefundChoice,
  SubscriptionCommand,
} from '@cinema-billing/gen/billing/admin/v1/subscription_admin_service_pb.ts';
import { SubscriptionStatus } from '@cinema-billing/gen/billing/v1/subscription_pb.ts';
import { CancelEffective, PlanChangeOutcome } from '@cinema-billing/gen/billing/v1/subscription_service_pb.ts';
import { refused } from '../testing/refused.ts';
import { waitUntil } from '../testing/wait-until.ts';
import { startWorld, type World } from '../testing/world.ts';

let world: World;
let api: ReturnType<World['clients']>;
let support: { token: string };
let admin: { token: string };
test.before(async () => {
  world = await startWorld();
  api = world.clients();
  support = { token: await world.auth.token({ sub: 'sasha', role: 'support' }) };
  admin = { token: await world.auth.token({ sub: 'olga', role: 'admin' }) };
});
test.after.always(() => world?.stop());

const head = (reason = 'the viewer called') => ({ requestId: randomUUID(), reason });
const row = async (text: string, ...values: unknown[]) => (await world.query(text, values))[0]!;
const auditOf = (targetId: string) =>
  world.query(`select action, actor_id, reason from audit_entry where target_id = $1 order by id`, [targetId]);

test.serial('a customer’s page says until when there is access and why, and what is charged next', async (t) => {
  const { userId, subscriptionId } = await world.subscriber();
  const read = async () => (await api.customerAdmin.getCustomer({ userId }, support)).customer!;
  const paid = (await read()).access[0]!;
  t.true(paid.hasAccess);
  t.is(paid.reason, AccessReason.PAID);
  t.is(paid.nextChargeAmount?.amountMinor, 29_900n);
  t.is(paid.nextChargeAt?.seconds, paid.subscription?.currentPeriodEnd?.seconds);
  t.regex(paid.paymentMethod!.last4, /^\d{4}$/);
  await waitUntil('the message is published', async () => (await read()).publishedVersion === 1n);
  await api.subscriptionAdmin.cancelSubscription({ ...head(), subscriptionId }, support);
  const ending = (await read()).access[0]!;
  t.is(ending.reason, AccessReason.ENDS_WITH_PERIOD);
  t.deepEqual(ending.accessUntil, ending.subscription?.currentPeriodEnd);
  t.is(ending.nextChargeAt, undefined);
  t.is(
    await refused(t, api.customerAdmin.getCustomer({ userId: randomUUID() }, support)),
    'NOT_FOUND CUSTOMER_NOT_FOUND',
  );
});

test.serial('the history of a customer has everything, newest first, with actor and reason', async (t) => {
  const { userId, subscriptionId } = await world.subscriber();
  await api.subscriptionAdmin.cancelSubscription({ ...head('too dear'), subscriptionId }, support);
  await api.subscriptionAdmin.resumeSubscription({ ...head('thought better of it'), subscriptionId }, support);
  const { events } = await api.customerAdmin.listCustomerHistory({ userId }, support);
  const lines = await world.query(
    `select kind, actor_id, reason from subscription_event where user_id = $1 order by occurred_at desc, id desc`,
    [userId],
  );
  t.deepEqual(
    events.map(({ actorId, reason }) => [actorId, reason]),
    lines.map((line) => [line['actor_id'], line['reason']]),
  );
  t.deepEqual(
    events.slice(0, 2).map(({ actorId, reason }) => [actorId, reason]),
    [
      ['sasha', 'thought better of it'],
      ['sasha', 'too dear'],
    ],
  );
  t.is(events.length, 4);
  const paged = await api.customerAdmin.listCustomerHistory({ userId, pageSize: 3 }, support);
  const rest = await api.customerAdmin.listCustomerHistory({ userId, pageToken: paged.nextPageToken }, support);
  t.deepEqual(
    [...paged.events, ...rest.events].map(({ id }) => id),
    events.map(({ id }) => id),
  );
});

test.serial(
  'a cancellation with a full refund does what its preview said, and the viewer’s service sees it',
  async (t) => {
    const { subscriptionId, token, userId } = await world.subscriber();
    const request = { subscriptionId, effective: CancelEffective.NOW, refund: RefundChoice.FULL };
    const preview = await api.subscriptionAdmin.cancelSubscription(
      { ...head(), ...request, validateOnly: true },
      support,
    );
    t.is(preview.refund?.amountMinor, 29_900n);
    const untouched = await api.subscriptions.getSubscription({ subscriptionId }, { token });
    t.is(untouched.subscription?.status, SubscriptionStatus.ACTIVE);
    t.deepEqual(await auditOf(subscriptionId), []);
    const call = { ...head('asked by mail'), ...request };
    const done = await api.subscriptionAdmin.cancelSubscription(call, support);
    const again = await api.subscriptionAdmin.cancelSubscription(call, support);
    t.deepEqual([done.refund?.amountMinor, again.refund?.amountMinor], [29_900n, 29_900n]);
    const seen = await api.subscriptions.getSubscription({ subscriptionId }, { token });
    t.is(seen.subscription?.status, SubscriptionStatus.CANCELED);
    const charge = await waitUntil('the money is back', async () =>
      (await world.paymentSystem.payments()).find(
        (payment) => payment.customer_reference === userId && Number(payment.refunded_minor) === 29_900,
      ),
    );
    t.truthy(charge);
    t.deepEqual(await auditOf(subscriptionId), [
      { action: 'CancelSubscription', actor_id: 'sasha', reason: 'asked by mail' },
    ]);
    const { subscription } = await api.subscriptionAdmin.getSubscription({ subscriptionId }, support);
    t.deepEqual(subscription?.allowedCommands, []);
  },
);

test.serial('time is given within the limits of the role; its preview changes nothing', async (t) => {
  const { subscriptionId, token } = await world.subscriber();
  const end = async () =>
    (await api.subscriptions.getSubscription({ subscriptionId }, { token })).subscription!.currentPeriodEnd!.seconds;
  const before = await end();
  const extend = (days: number, options: { token: string }, validateOnly = false) =>
    api.subscriptionAdmin.extendPeriod({ ...head('the stream broke'), subscriptionId, days, validateOnly }, options);
  const preview = await extend(10, support, true);
  t.is(preview.subscription?.subscription?.currentPeriodEnd?.seconds, before + 10n * 86_400n);
  t.is(await end(), before);
  t.is(await refused(t, extend(32, support)), 'PERMISSION_DENIED ROLE_LIMIT_EXCEEDED');
  await extend(31, support);
  await extend(32, admin);
  t.is(await end(), before + 63n * 86_400n);
  t.is((await auditOf(subscriptionId)).length, 2);
});

test.serial('a gift is there for its viewer, with the commands that its state allows', async (t) => {
  const userId = randomUUID();
  const gift = { userId, priceId: world.prices.premium, days: 7 };
  const given = await api.subscriptionAdmin.grantSubscription({ ...head('a prize'), ...gift }, support);
  const token = await world.auth.token({ sub: userId });
  const { subscriptions } = await api.subscriptions.listSubscriptions({}, { token });
  t.deepEqual(
    subscriptions.map(({ id, planCode }) => [id, planCode]),
    [[given.subscription!.subscription!.id, 'premium']],
  );
  t.true(given.subscription!.complimentary);
  t.deepEqual(given.subscription!.allowedCommands, [
    SubscriptionCommand.CANCEL_NOW,
    SubscriptionCommand.RESUME,
    SubscriptionCommand.CHANGE_METHOD,
    SubscriptionCommand.REMOVE_METHOD,
    SubscriptionCommand.EXTEND,
  ]);
  const access = (await api.customerAdmin.getCustomer({ userId }, support)).customer!.access[0]!;
  t.is(access.reason, AccessReason.COMPLIMENTARY);
});

test.serial('a removed card charges nothing more; a retry is refused where nothing failed', async (t) => {
  const { subscriptionId, userId, token } = await world.subscriber();
  const retry = api.subscriptionAdmin.retryPayment({ ...head(), subscriptionId }, support);
  t.is(await refused(t, retry), 'FAILED_PRECONDITION ILLEGAL_TRANSITION');
  const { customer } = await api.customerAdmin.getCustomer({ userId }, support);
  const paymentMethodId = customer!.paymentMethods[0]!.id;
  const remove = { ...head('a lost card'), paymentMethodId };
  const preview = await api.subscriptionAdmin.detachPaymentMethod({ ...remove, validateOnly: true }, support);
  t.deepEqual(preview.endingSubscriptionIds, [subscriptionId]);
  t.is((await api.customerAdmin.getCustomer({ userId }, support)).customer!.paymentMethods.length, 1);
  await api.subscriptionAdmin.detachPaymentMethod(remove, support);
  const seen = await api.subscriptions.getSubscription({ subscriptionId }, { token });
  t.true(seen.subscription?.cancelAtPeriodEnd);
  t.deepEqual(await auditOf(paymentMethodId), [
    { action: 'DetachPaymentMethod', actor_id: 'sasha', reason: 'a lost card' },
  ]);
});

test.serial(
  'an operator changes a plan after a preview that costs the same, and the audit log says what was asked',
  async (t) => {
    const { subscriptionId } = await world.subscriber();
    const asked = { ...head('asked by phone'), subscriptionId, priceId: world.prices.premium };
    const { change, subscription } = await api.subscriptionAdmin.changePlan({ ...asked, validateOnly: true }, support);
    t.is(subscription!.subscription!.planCode, 'basic');
    t.deepEqual(await auditOf(subscriptionId), []);
    const { prorationAt } = change!;
    const done = await api.subscriptionAdmin.changePlan({ ...asked, prorationAt: prorationAt! }, support);
    t.deepEqual([done.outcome, done.change], [PlanChangeOutcome.APPLIED, change]);
    t.is(done.subscription!.subscription!.planCode, 'premium');
    t.deepEqual(await auditOf(subscriptionId), [{ action: 'ChangePlan', actor_id: 'sasha', reason: 'asked by phone' }]);
    const entry = await row(`select after from audit_entry where target_id = $1`, subscriptionId);
    t.like(entry['after'], { plan_code: 'basic', asked_plan_code: 'premium', timing: 'now' });
    const later = await api.subscriptionAdmin.changePlan(
      { ...head(), subscriptionId, priceId: world.prices.basic },
      support,
    );
    t.is(later.subscription!.subscription!.scheduledPriceId, world.prices.basic);
  },
);
