import { randomUUID } from 'node:crypto';
import { toBinary } from '@bufbuild/protobuf';
import test, { type ExecutionContext } from 'ava';
import {
  AccessReason,
  CustomerOrder,
  type ListCustomersResponse,
} from '@cinema-billing/gen/billing/admin/v1/customer_admin_service_pb.ts';
import {
  AttemptState,
  DueKind,
  ResolveUnknownPaymentResponseSchema,
  WebhookEventState,
} from '@cinema-billing/gen/billing/admin/v1/payment_admin_service_pb.ts';
import {
  CancelSubscriptionResponseSchema,
  ExtendPeriodResponseSchema,
  GrantSubscriptionResponseSchema,
  RefundChoice,
  ResumeSubscriptionResponseSchema,
  SubscriptionCommand,
} from '@cinema-billing/gen/billing/admin/v1/subscription_admin_service_pb.ts';
import { SubscriptionStatus } from '@cinema-billing/gen/billing/v1/subscription_pb.ts';
import { CancelEffective, PlanChangeOutcome } from '@cinema-billing/gen/billing/v1/subscription_service_pb.ts';
import { RpcError } from '../cli/grpc-client.ts';
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

const softLater = '4000000000000341';
const head = (reason = 'the viewer called') => ({ requestId: randomUUID(), reason });

async function refused(t: ExecutionContext, call: Promise<unknown>): Promise<string> {
  const error = await t.throwsAsync(call, { instanceOf: RpcError });
  return `${error!.code} ${error!.reason}`;
}

const row = async (text: string, ...values: unknown[]) => (await world.query(text, values))[0]!;
const users = ({ customers }: ListCustomersResponse) => customers.map(({ userId }) => userId);
const paymentOf = async (subscriptionId: string) =>
  String((await row(`select id from payment where subscription_id = $1 order by created_at`, subscriptionId))['id']);
const auditOf = (targetId: string) =>
  world.query(`select action, actor_id, reason from audit_entry where target_id = $1 order by id`, [targetId]);

test.serial(
  'a customer is found by user, subscription and payment id, by the provider’s id, and by the statement',
  async (t) => {
    const viewer = await world.subscriber();
    await world.subscriber();
    const paymentId = await paymentOf(viewer.subscriptionId);
    const attempt = await row(`select provider_payment_id from payment_attempt where payment_id = $1`, paymentId);
    const method = await row(`select last4 from payment_method where user_id = $1`, viewer.userId);
    const queries = [viewer.userId, viewer.userId.toUpperCase(), viewer.subscriptionId, paymentId];
    for (const query of [...queries, String(attempt['provider_payment_id'])]) {
      t.deepEqual(users(await api.customerAdmin.listCustomers({ query }, support)), [viewer.userId], query);
    }
    t.deepEqual(users(await api.customerAdmin.listCustomers({ query: 'pay_nobody' }, support)), []);
    const amount = { currencyCode: 'RUB', amountMinor: 29_900n };
    const card = { last4: String(method['last4']), amount, paidOn: '2027-01-15' };
    const byCard = async (more: object) =>
      users(await api.customerAdmin.listCustomers({ card: { ...card, ...more } }, support));
    t.true((await byCard({})).includes(viewer.userId));
    t.deepEqual(await byCard({ paidOn: '2027-01-14' }), []);
    t.deepEqual(await byCard({ last4: '0001' }), []);
    t.deepEqual(await byCard({ amount: { ...amount, amountMinor: 29_901n } }), []);
    t.is(await refused(t, byCard({ paidOn: '2027-02-30' })), 'INVALID_ARGUMENT INVALID_FIELDS');
  },
);

test.serial(
  'a search for an e-mail address finds all who gave it, in any case, and nobody by a part of it',
  async (t) => {
    const email = 'Family+Kino@example.com';
    const [anna, boris] = [randomUUID(), randomUUID()];
    for (const [sub, given] of [
      [anna, email],
      [boris, email.toUpperCase()],
      [randomUUID(), 'other@example.com'],
    ] as const) {
      const token = await world.auth.token({ sub });
      const asked = { requestId: randomUUID(), priceId: world.prices.basic, email: given };
      await api.subscriptions.subscribe(asked, { token });
    }
    const found = async (query: string) => users(await api.customerAdmin.listCustomers({ query }, support)).toSorted();
    for (const query of [email, ' family+kino@EXAMPLE.com ']) t.deepEqual(await found(query), [anna, boris].toSorted());
    for (const query of ['@example.com', 'kino@example.com', 'family%@example.com', 'family_kino@example.com']) {
      t.deepEqual(await found(query), [], query);
    }
  },
);

test.serial(
  'the address in a viewer’s token is kept until the viewer gives another one, and never over one',
  async (t) => {
    const sub = randomUUID();
    const found = async (query: string) => users(await api.customerAdmin.listCustomers({ query }, support));
    const subscribe = async (claimed: string, email: string) => {
      const token = await world.auth.token({ sub, email: claimed });
      await api.subscriptions.subscribe({ requestId: randomUUID(), priceId: world.prices.basic, email }, { token });
    };
    await subscribe('claimed@cinema.test', '');
    t.deepEqual(await found('claimed@cinema.test'), [sub]);
    await subscribe('claimed@cinema.test', 'given@cinema.test');
    await subscribe('claimed@cinema.test', '');
    t.deepEqual(await found('claimed@cinema.test'), []);
    t.deepEqual(await found('given@cinema.test'), [sub]);
  },
);

test.serial('the registry has who was ever active, in pages that a new customer does not shift', async (t) => {
  const unpaid = randomUUID();
  const token = await world.auth.token({ sub: unpaid });
  await api.subscriptions.subscribe({ requestId: randomUUID(), priceId: world.prices.basic }, { token });
  const all = users(await api.customerAdmin.listCustomers({ pageSize: 500 }, support));
  const known = await world.query(`select user_id from subscription where current_period_start is not null`);
  t.deepEqual(all.toSorted(), known.map((found) => String(found['user_id'])).sort());
  t.false(all.includes(unpaid));
  const everybody = await api.customerAdmin.listCustomers({ pageSize: 500, includeNeverActive: true }, support);
  t.true(users(everybody).includes(unpaid));
  const first = await api.customerAdmin.listCustomers({ pageSize: 1 }, support);
  await world.advance({ hours: 1 });
  await world.subscriber();
  const next = await api.customerAdmin.listCustomers({ pageSize: 1, pageToken: first.nextPageToken }, support);
  t.deepEqual([...users(first), ...users(next)], all.slice(0, 2));
  const other = api.customerAdmin.listCustomers({ pageSize: 1, pageToken: first.nextPageToken }, admin);
  t.is(await refused(t, other), 'INVALID_ARGUMENT PAGE_TOKEN_INVALID');
});

test.serial('the exported file has everybody whom the search finds, each once, in parts of 500 lines', async (t) => {
  // More than one part, of viewers who never paid.
  await world.query(`insert into customer (user_id, created_at)
    select gen_random_uuid(), timestamptz '2020-01-01' + i * interval '1 minute' from generate_series(1, 700) i`);
  const parts: string[] = [];
  let pageToken = '';
  do {
    const search = { includeNeverActive: true, pageToken };
    const part = await api.customerAdmin.exportCustomers({ search }, support);
    parts.push(part.csv);
    pageToken = part.nextPageToken;
  } while (pageToken !== '');
  t.true(parts.length >= 2);
  const [header, ...lines] = parts.join('').trimEnd().split('\r\n');
  t.is(header, 'user_id,created_at,plan_code,status,currency,amount_minor,subscriptions');
  const known = await world.query(`select user_id from customer`);
  t.deepEqual(
    lines.map((line) => line.split(',')[0]).toSorted(),
    known.map((one) => String(one['user_id'])).toSorted(),
  );
  const viewer = await world.subscriber();
  const one = await api.customerAdmin.exportCustomers({ search: { query: viewer.userId } }, support);
  t.regex(one.csv.split('\r\n')[1]!, new RegExp(`^${viewer.userId},2027-[^,]+Z,basic,ACTIVE,RUB,29900,1$`));
  t.is(
    await refused(t, api.customerAdmin.exportCustomers({ search: { pageToken: 'x' } }, support)),
    'INVALID_ARGUMENT PAGE_TOKEN_INVALID',
  );
  await world.query(`delete from customer where created_at < timestamptz '2021-01-01'`);
});

test.serial('the registry shows the newest subscription with the number of all, and who never had one', async (t) => {
  const [userId, nobody] = [randomUUID(), randomUUID()];
  await world.query(`insert into customer values ($1, '2020-01-01'), ($2, '2020-01-02')`, [userId, nobody]);
  const give = async (priceId: string) => {
    const asked = { ...head(), userId, priceId, days: 3 };
    const { subscription } = await api.subscriptionAdmin.grantSubscription(asked, support);
    return subscription!.subscription!.id;
  };
  const first = await give(world.prices.premium);
  const end = { ...head(), subscriptionId: first, effective: CancelEffective.NOW };
  await api.subscriptionAdmin.cancelSubscription(end, support);
  await world.advance({ hours: 1 });
  const second = await give(world.prices.basic);
  const registered = { includeNeverActive: true, order: CustomerOrder.OLDEST_FIRST, pageSize: 2 };
  const { customers } = await api.customerAdmin.listCustomers(registered, support);
  t.deepEqual(
    customers.map((customer) => [
      customer.userId,
      customer.subscriptionCount,
      customer.subscription?.id,
      customer.subscription?.planCode,
      customer.subscription?.price?.amount?.amountMinor,
      customer.subscription?.status,
    ]),
    [
      [userId, 2n, second, 'basic', 29_900n, SubscriptionStatus.ACTIVE],
      [nobody, 0n, undefined, undefined, undefined, undefined],
    ],
  );
  const found = async (more: object) =>
    users(await api.customerAdmin.listCustomers({ query: userId, ...more }, support)).length;
  t.is(await found({ planCode: 'basic', status: SubscriptionStatus.ACTIVE }), 1);
  t.is(await found({ planCode: 'premium' }), 0, 'that was an earlier one');
  t.is(await found({ status: SubscriptionStatus.CANCELED }), 0);
  await world.query(`delete from customer where user_id = $1`, [nobody]);
});

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

test.serial('a part of a payment goes back once per request id, to the payment system’s ledger', async (t) => {
  const { subscriptionId, userId } = await world.subscriber();
  const paymentId = await paymentOf(subscriptionId);
  const amount = { currencyCode: 'RUB', amountMinor: 9_900n };
  const preview = await api.paymentAdmin.refundPayment({ ...head(), paymentId, amount, validateOnly: true }, support);
  t.deepEqual([preview.refundId, preview.left?.amountMinor], ['', 20_000n]);
  const call = { ...head('half an evening'), paymentId, amount };
  const answers = await Promise.all([1, 2, 3].map(() => api.paymentAdmin.refundPayment(call, support)));
  t.is(new Set(answers.map(({ refundId }) => refundId)).size, 1);
  await waitUntil('the money is back', async () =>
    (await world.paymentSystem.payments()).some(
      (payment) => payment.customer_reference === userId && Number(payment.refunded_minor) === 9_900,
    ),
  );
  const { payment } = await api.paymentAdmin.getPayment({ paymentId }, support);
  t.is(payment?.payment?.refunded?.amountMinor, 9_900n);
  t.deepEqual(await auditOf(paymentId), [{ action: 'RefundPayment', actor_id: 'sasha', reason: 'half an evening' }]);
  const foreign = api.paymentAdmin.refundPayment(
    { ...head(), paymentId, amount: { currencyCode: 'USD', amountMinor: 1n } },
    support,
  );
  t.is(await refused(t, foreign), 'INVALID_ARGUMENT INVALID_FIELDS');
  const all = api.paymentAdmin.refundPayment(
    { ...head(), paymentId, amount: { ...amount, amountMinor: 20_001n } },
    support,
  );
  t.is(await refused(t, all), 'FAILED_PRECONDITION REFUND_TOO_LARGE');
});

test.serial('a payment explains itself: due, period, attempts with keys, notices and history', async (t) => {
  const { subscriptionId } = await world.subscriber();
  const paymentId = await paymentOf(subscriptionId);
  const explained = await api.paymentAdmin.explainPayment({ paymentId }, support);
  t.is(explained.due?.kind, DueKind.INITIAL);
  const stored = await row(
    `select idempotency_key, provider_payment_id from payment_attempt where payment_id = $1`,
    paymentId,
  );
  const [attempt] = explained.payment!.attempts;
  t.is(attempt?.idempotencyKey, stored['idempotency_key'] as string);
  t.is(attempt?.providerPaymentId, stored['provider_payment_id'] as string);
  t.is(attempt?.state, AttemptState.SUCCEEDED);
  t.true(explained.webhookEvents.length > 0);
  t.deepEqual(explained.events.map(({ reason }) => reason).length, 2);
  t.is(
    await refused(t, api.paymentAdmin.explainPayment({ paymentId: randomUUID() }, support)),
    'NOT_FOUND PAYMENT_NOT_FOUND',
  );
});

/** The service is told to forget what it knew of a payment; the payment system has the money. */
async function forget(paymentId: string): Promise<void> {
  await world.query(
    `update payment_attempt set state = 'UNKNOWN', settled_at = null,
    next_check_at = business_now() + interval '1 day' where payment_id = $1`,
    [paymentId],
  );
  await world.query(`update payment set status = 'PENDING', settled_at = null where id = $1`, [paymentId]);
  await world.query(
    `update subscription s set open_payment_id = p.id from payment p where p.id = $1 and s.id = p.subscription_id`,
    [paymentId],
  );
}

test.serial('an unknown payment is settled by what the payment system says, and by nothing else', async (t) => {
  const { subscriptionId, userId } = await world.subscriber();
  const paymentId = await paymentOf(subscriptionId);
  const resolve = () => api.paymentAdmin.resolveUnknownPayment({ ...head('it hangs'), paymentId }, support);
  t.is(await refused(t, resolve()), 'FAILED_PRECONDITION PAYMENT_NOT_OPEN');
  await forget(paymentId);
  const queue = await api.paymentAdmin.listPayments({ attemptState: AttemptState.UNKNOWN }, support);
  t.deepEqual(
    queue.payments.map(({ payment, needsAttention }) => [payment?.id, needsAttention]),
    [[paymentId, true]],
  );
  const { attention } = await api.operations.getMetrics({}, support);
  t.is(attention?.unknownPayments, 1n);
  const { resolved, payment } = await resolve();
  t.true(resolved);
  t.is(payment?.attempts[0]?.state, AttemptState.SUCCEEDED);
  const charges = (await world.paymentSystem.payments()).filter((charge) => charge.customer_reference === userId);
  t.is(charges.length, 1);
  t.deepEqual(
    (await auditOf(paymentId)).map(({ action }) => action),
    ['ResolveUnknownPayment'],
  );
});

test.serial('a notice that was set aside is worked off again, once', async (t) => {
  const [event] = await world.query(
    `select provider, provider_event_id from webhook_event where state = 'PROCESSED' limit 1`,
  );
  const key = { provider: String(event!['provider']), providerEventId: String(event!['provider_event_id']) };
  const replay = () => api.paymentAdmin.replayWebhookEvent({ ...head('again'), ...key }, support);
  t.is(await refused(t, replay()), 'FAILED_PRECONDITION WEBHOOK_EVENT_NOT_SET_ASIDE');
  await world.query(`update webhook_event set state = 'QUARANTINED' where provider_event_id = $1`, [
    key.providerEventId,
  ]);
  const aside = await api.paymentAdmin.listWebhookEvents({ state: WebhookEventState.QUARANTINED }, support);
  t.deepEqual(
    aside.events.map(({ providerEventId }) => providerEventId),
    [key.providerEventId],
  );
  await replay();
  await waitUntil('it is processed', async () => {
    const found = await row(`select state from webhook_event where provider_event_id = $1`, key.providerEventId);
    return found['state'] === 'PROCESSED';
  });
  const missing = api.paymentAdmin.replayWebhookEvent({ ...head(), ...key, providerEventId: 'evt_none' }, support);
  t.is(await refused(t, missing), 'NOT_FOUND WEBHOOK_EVENT_NOT_FOUND');
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

test.serial('support refunds recent payments only, an admin older ones, too; a retry pays what is owed', async (t) => {
  const { subscriptionId, userId } = await world.subscriber(softLater);
  const paymentId = await paymentOf(subscriptionId);
  await world.advance({ days: 32 });
  t.is((await row(`select status from subscription where id = $1`, subscriptionId))['status'], 'PAST_DUE');
  const retried = await api.subscriptionAdmin.retryPayment(
    { ...head('the card has money now'), subscriptionId },
    support,
  );
  t.true(retried.subscription!.allowedCommands.includes(SubscriptionCommand.RETRY_PAYMENT));
  await waitUntil('it was tried again', async () => {
    const attempts = await row(
      `select count(*)::int as n from payment_attempt where subscription_id = $1`,
      subscriptionId,
    );
    return Number(attempts['n']) >= 3;
  });
  t.deepEqual(
    (await auditOf(subscriptionId)).map(({ action }) => action),
    ['RetryPayment'],
  );
  await world.advance({ days: 29 });
  const refund = (options: { token: string }) => api.paymentAdmin.refundPayment({ ...head(), paymentId }, options);
  t.is(await refused(t, refund(support)), 'PERMISSION_DENIED ROLE_LIMIT_EXCEEDED');
  t.is((await refund(admin)).amount?.amountMinor, 29_900n);
  const { entries } = await api.operations.listAuditEntries({ userId }, support);
  t.deepEqual(
    entries.map(({ action, actorId }) => [action, actorId]),
    [
      ['RefundPayment', 'olga'],
      ['RetryPayment', 'sasha'],
    ],
  );
});

test.serial(
  'a repeat of an operator’s command is answered byte for byte, though the card has changed since',
  async (t) => {
    const { subscriptionId } = await world.subscriber();
    const paymentId = await paymentOf(subscriptionId);
    await forget(paymentId);
    const asked = () => ({ ...head(), subscriptionId });
    const [unknown, gift, days, end, back] = [head(), head(), asked(), asked(), asked()];
    const userId = randomUUID();
    const { subscriptionAdmin, paymentAdmin } = api;
    const calls = [
      async () =>
        toBinary(
          ResolveUnknownPaymentResponseSchema,
          await paymentAdmin.resolveUnknownPayment({ ...unknown, paymentId }, support),
        ),
      async () =>
        toBinary(
          GrantSubscriptionResponseSchema,
          await subscriptionAdmin.grantSubscription({ ...gift, userId, priceId: world.prices.basic, days: 3 }, support),
        ),
      async () =>
        toBinary(ExtendPeriodResponseSchema, await subscriptionAdmin.extendPeriod({ ...days, days: 3 }, support)),
      async () =>
        toBinary(
          CancelSubscriptionResponseSchema,
          await subscriptionAdmin.cancelSubscription({ ...end, effective: CancelEffective.AT_PERIOD_END }, support),
        ),
      async () => toBinary(ResumeSubscriptionResponseSchema, await subscriptionAdmin.resumeSubscription(back, support)),
    ];
    const first: Uint8Array[] = [];
    for (const call of calls) first.push(await call());
    t.true(Buffer.from(first[2]!).includes('4242'), 'it shows the card');
    await world.query(
      `update payment_method set last4 = '0007' where id = (
    select payment_method_id from subscription where id = $1)`,
      [subscriptionId],
    );
    await world.query(`update payment set created_at = created_at - interval '1 hour' where id = $1`, [paymentId]);
    for (const [index, call] of calls.entries()) t.deepEqual(await call(), first[index], String(index));
  },
);

test.serial(
  'support gives back with a cancellation only what was paid in the last 60 days, and its preview says so',
  async (t) => {
    const old = await world.subscriber();
    const recent = await world.subscriber();
    await world.query(
      `update payment_attempt set settled_at = business_now() - interval '61 days' where subscription_id = $1`,
      [old.subscriptionId],
    );
    const asked = (subscriptionId: string, refund: RefundChoice) => ({
      ...head('moved away'),
      subscriptionId,
      effective: CancelEffective.NOW,
      refund,
    });
    const refunds = async () =>
      Number(
        (
          await row(
            `select count(*)::int as n from refund r join payment_attempt a on a.id = r.attempt_id
      where a.subscription_id = $1`,
            old.subscriptionId,
          )
        )['n'],
      );
    for (const refund of [RefundChoice.FULL, RefundChoice.PRORATED]) {
      for (const validateOnly of [true, false]) {
        const input = { ...asked(old.subscriptionId, refund), validateOnly };
        t.is(
          await refused(t, api.subscriptionAdmin.cancelSubscription(input, support)),
          'PERMISSION_DENIED ROLE_LIMIT_EXCEEDED',
        );
      }
    }
    t.is(await refunds(), 0);
    t.is((await row(`select status from subscription where id = $1`, old.subscriptionId))['status'], 'ACTIVE');
    const given = await api.subscriptionAdmin.cancelSubscription(
      asked(recent.subscriptionId, RefundChoice.FULL),
      support,
    );
    t.is(given.refund?.amountMinor, 29_900n);
    const byAdmin = await api.subscriptionAdmin.cancelSubscription(asked(old.subscriptionId, RefundChoice.FULL), admin);
    t.is(byAdmin.refund?.amountMinor, 29_900n);
    t.is(await refunds(), 1);
  },
);

test.serial('an operator’s entry in the audit log is there exactly when the effect is', async (t) => {
  const viewer = randomUUID();
  const token = await world.auth.token({ sub: viewer });
  const { subscription } = await api.subscriptions.subscribe(
    { requestId: randomUUID(), priceId: world.prices.basic },
    { token },
  );
  const subscriptionId = subscription!.id;
  const paid = await world.subscriber();
  const paymentId = await paymentOf(paid.subscriptionId);
  await forget(paymentId);
  // The log can take nothing: then nothing may happen either, but what the killed page's own notice does.
  await world.query(`alter table audit_entry add constraint shut check (false) not valid`);
  const end = { ...head('nobody pays'), subscriptionId };
  const resolve = { ...head('it hangs'), paymentId };
  try {
    await t.throwsAsync(api.subscriptionAdmin.cancelSubscription(end, support));
    await t.throwsAsync(api.paymentAdmin.resolveUnknownPayment(resolve, support));
  } finally {
    await world.query(`alter table audit_entry drop constraint shut`);
  }
  t.is((await row(`select state from payment_attempt where payment_id = $1`, paymentId))['state'], 'UNKNOWN');
  await api.subscriptionAdmin.cancelSubscription(end, support);
  t.true((await api.paymentAdmin.resolveUnknownPayment(resolve, support)).resolved);
  t.deepEqual(await auditOf(subscriptionId), [
    { action: 'CancelSubscription', actor_id: 'sasha', reason: 'nobody pays' },
  ]);
  t.deepEqual(await auditOf(paymentId), [{ action: 'ResolveUnknownPayment', actor_id: 'sasha', reason: 'it hangs' }]);
});
