import { randomUUID } from 'node:crypto';
import test from 'ava';
import {
  AttemptState,
  DueKind,
  WebhookEventState,
} from '@cinema-billing/gen/billing/admin/v1/payment_admin_service_pb.ts';
import {
  RefundChoice,
  SubscriptionCommand,
} from '@cinema-billing/gen/billing/admin/v1/subscription_admin_service_pb.ts';
import { CancelEffective } from '@cinema-billing/gen/billing/v1/subscription_service_pb.ts';
import { forgetPayment } from '../testing/forget-payment.ts';
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

const softLater = '4000000000000341';
const head = (reason = 'the viewer called') => ({ requestId: randomUUID(), reason });
const row = async (text: string, ...values: unknown[]) => (await world.query(text, values))[0]!;
const paymentOf = async (subscriptionId: string) =>
  String((await row(`select id from payment where subscription_id = $1 order by created_at`, subscriptionId))['id']);
const auditOf = (targetId: string) =>
  world.query(`select action, actor_id, reason from audit_entry where target_id = $1 order by id`, [targetId]);

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

test.serial('an unknown payment is settled by what the payment system says, and by nothing else', async (t) => {
  const { subscriptionId, userId } = await world.subscriber();
  const paymentId = await paymentOf(subscriptionId);
  const resolve = () => api.paymentAdmin.resolveUnknownPayment({ ...head('it hangs'), paymentId }, support);
  t.is(await refused(t, resolve()), 'FAILED_PRECONDITION PAYMENT_NOT_OPEN');
  await forgetPayment(world.query, paymentId);
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
  await forgetPayment(world.query, paymentId);
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
