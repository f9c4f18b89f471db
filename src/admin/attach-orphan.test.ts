import { randomUUID } from 'node:crypto';
import test from 'ava';
import { WebhookEventState } from '@cinema-billing/gen/billing/admin/v1/payment_admin_service_pb.ts';
import { reconcile } from '../ledger/reconcile.ts';
import { openDomain } from '../testing/domain.ts';
import { merchantOf } from '../testing/payment-system-merchant.ts';
import type { PaymentObject } from '../testing/payment-system.ts';
import { refused } from '../testing/refused.ts';
import { waitUntil } from '../testing/wait-until.ts';
import { startWorld, type World } from '../testing/world.ts';

let world: World;
let api: ReturnType<World['clients']>;
let admin: { token: string };
test.before(async () => {
  world = await startWorld();
  api = world.clients();
  admin = { token: await world.auth.token({ sub: 'olga', role: 'admin' }) };
});
test.after.always(() => world?.stop());

const softLater = '4000000000000341';
const row = async (text: string, ...values: unknown[]) => (await world.query(text, values))[0]!;
const subscriptionOf = (id: string) =>
  row(`select status, cycle, current_period_end::text, open_payment_id from subscription where id = $1`, id);
const lastPaymentOf = async (subscriptionId: string) =>
  String(
    (await row(`select id from payment where subscription_id = $1 order by created_at desc`, subscriptionId))['id'],
  );

/** Money that is taken by hand in the payment system's back office; after a day its notice is an orphan. */
async function orphan(more: object = {}): Promise<{ money: PaymentObject; event: object }> {
  const merchant = merchantOf(() => world.paymentSystem);
  const card = await merchant.saveCard();
  const { text } = await merchant.call('/v1/charges', {
    key: randomUUID(),
    body: { ...merchant.chargeOf(card, 'by-hand'), ...more },
  });
  const money = JSON.parse(text) as PaymentObject;
  const known = () =>
    world.query(`select provider_event_id from webhook_event where provider_payment_id = $1`, [money.id]);
  await waitUntil('its notice is here', async () => (await known()).length > 0);
  await world.query(
    `update webhook_event set received_at = received_at - interval '2 days', next_try_at = received_at
       where provider_payment_id = any($1)`,
    [[money.id, card.id]],
  );
  await waitUntil('it is an orphan', async () => {
    const [event] = await world.query(`select state from webhook_event where provider_payment_id = $1`, [money.id]);
    return event!['state'] === 'ORPHAN';
  });
  return { money, event: { provider: 'sandbox', providerEventId: String((await known())[0]!['provider_event_id']) } };
}

const head = (reason = 'the viewer sent the receipt') => ({ requestId: randomUUID(), reason });
const refundedAt = async (id: string) =>
  (await world.paymentSystem.payments()).find((payment) => payment.id === id)!.refunded_minor;
const factsOf = (providerPaymentId: string) =>
  world.query(
    `select kind, amount_minor::int as amount from journal_fact where provider_payment_id = $1 order by kind`,
    [providerPaymentId],
  );

test.serial(
  'orphaned money pays the renewal that waits for it: once, with its period, history and journal',
  async (t) => {
    const { subscriptionId, userId } = await world.subscriber(softLater);
    await world.advance({ days: 32 });
    t.is((await subscriptionOf(subscriptionId))['status'], 'PAST_DUE');
    const paymentId = await lastPaymentOf(subscriptionId);
    const { money, event } = await orphan();
    const call = { ...head(), ...event, paymentId };

    const preview = await api.paymentAdmin.attachOrphan({ ...call, validateOnly: true }, admin);
    t.deepEqual([preview.amount?.amountMinor, preview.pays], [29_900n, true]);
    t.is((await subscriptionOf(subscriptionId))['status'], 'PAST_DUE', 'a preview does nothing');

    const answers = await Promise.all([1, 2, 3].map(() => api.paymentAdmin.attachOrphan(call, admin)));
    t.deepEqual(answers[1], answers[0]);
    t.deepEqual(answers[2], answers[0]);
    const paid = await subscriptionOf(subscriptionId);
    t.like(paid, { status: 'ACTIVE', cycle: 1, open_payment_id: null });
    t.is(Number(answers[0]!.paidUntil!.seconds) * 1_000, Date.parse(String(paid['current_period_end'])));
    t.deepEqual(answers[0]!.paidUntil, preview.paidUntil);
    t.deepEqual(await factsOf(money.id), [{ kind: 'CHARGED', amount: 29_900 }]);
    t.is(await refundedAt(money.id), '0');
    t.deepEqual(await row(`select state, note from webhook_event where provider_payment_id = $1`, money.id), {
      state: 'PROCESSED',
      note: 'attached by an operator',
    });
    const { payment } = await api.paymentAdmin.getPayment({ paymentId }, admin);
    t.deepEqual(
      payment?.attempts.filter(({ attached }) => attached).map(({ providerPaymentId }) => providerPaymentId),
      [money.id],
    );
    t.deepEqual(await row(`select action, actor_id, reason from audit_entry where user_id = $1`, userId), {
      action: 'AttachOrphan',
      actor_id: 'olga',
      reason: 'the viewer sent the receipt',
    });
    await waitUntil('Auth has the rights again', async () => (await world.auth.user(userId)).grants.length === 1);

    await world.query(
      `update webhook_event set state = 'QUARANTINED', processed_at = null where provider_payment_id = $1`,
      [money.id],
    );
    await api.paymentAdmin.replayWebhookEvent({ ...head(), ...event }, admin);
    await waitUntil('a notice of it that comes again changes nothing', async () => {
      const { state, note } = await row(
        `select state, note from webhook_event where provider_payment_id = $1`,
        money.id,
      );
      return state === 'PROCESSED' && note === 'already settled';
    });
    t.is((await factsOf(money.id)).length, 1);
  },
);

test.serial('orphaned money that is given back goes back once, all of it, and touches no subscription', async (t) => {
  const { subscriptionId } = await world.subscriber();
  const before = await subscriptionOf(subscriptionId);
  const paymentId = await lastPaymentOf(subscriptionId);
  const { money, event } = await orphan({ amount_minor: '12345' });
  const call = { ...event, paymentId };
  const paying = api.paymentAdmin.attachOrphan({ ...head(), ...call }, admin);
  t.is(await refused(t, paying), 'FAILED_PRECONDITION ORPHAN_PAYS_NOTHING');

  const two = await Promise.allSettled(
    [1, 2].map(() => api.paymentAdmin.attachOrphan({ ...head('whose is it'), ...call, giveBack: true }, admin)),
  );
  const done = two.filter((one) => one.status === 'fulfilled').map(({ value }) => value);
  t.deepEqual(
    done.map(({ pays, amount, paidUntil }) => [pays, amount?.amountMinor, paidUntil]),
    [[false, 12_345n, undefined]],
    'one of two different calls has the effect',
  );
  await waitUntil('the money is back', async () => (await refundedAt(money.id)) === '12345');
  await waitUntil('and written down', async () => (await factsOf(money.id)).length === 2);
  t.deepEqual(await factsOf(money.id), [
    { kind: 'CHARGED', amount: 12_345 },
    { kind: 'REFUNDED', amount: 12_345 },
  ]);
  t.deepEqual(await subscriptionOf(subscriptionId), before);
  const { payments } = await api.paymentAdmin.listPayments({ subscriptionId }, admin);
  t.is(payments[0]?.payment?.refunded?.amountMinor, 0n, 'the payment itself keeps its money');
});

test.serial(
  'money of a viewer who has removed the card pays one period, and the subscription ends with it',
  async (t) => {
    const { subscriptionId, userId } = await world.subscriber(softLater);
    await world.advance({ days: 32 });
    const [method] = await world.query(`select id from payment_method where user_id = $1`, [userId]);
    const removal = { ...head(), subscriptionId, paymentMethodId: String(method!['id']) };
    await api.subscriptionAdmin.detachPaymentMethod(removal, admin);
    const paymentId = await lastPaymentOf(subscriptionId);
    const { event } = await orphan();
    const { pays } = await api.paymentAdmin.attachOrphan({ ...head(), ...event, paymentId }, admin);
    t.true(pays);
    const [paid] = await world.query(
      `select status, cancel_at_period_end, next_charge_at, next_transition_at = current_period_end as ends
       from subscription where id = $1`,
      [subscriptionId],
    );
    t.deepEqual(paid, { status: 'ACTIVE', cancel_at_period_end: true, next_charge_at: null, ends: true });
    await world.advance({ days: 32 });
    t.is((await subscriptionOf(subscriptionId))['status'], 'CANCELED');
  },
);

test.serial(
  'the books agree on attached money, also where it was taken before the window; a later look finds its dispute',
  async (t) => {
    const { subscriptionId } = await world.subscriber();
    const { event, money } = await orphan();
    await world.paymentSystem.dispute(money.id);
    await world.advance({ hours: 30 });
    const disputesOf = () =>
      world.query(
        `select d.state from dispute d join payment_attempt a on a.id = d.attempt_id where a.provider_payment_id = $1`,
        [money.id],
      );
    t.deepEqual(await disputesOf(), [], 'it is nobody’s');
    const paymentId = await lastPaymentOf(subscriptionId);
    await api.paymentAdmin.attachOrphan({ ...head(), ...event, paymentId, giveBack: true }, admin);
    await world.advance({ hours: 25 });
    t.deepEqual(await disputesOf(), [{ state: 'OPEN' }]);

    const domain = await openDomain(world);
    const [clock] = await world.query(`select business_now()::text as now`);
    const to = Temporal.Instant.from(String(clock!['now'])).add({ minutes: 1 });
    const provider = domain.ctx.providers.get('sandbox')!;
    const { list, examined } = await reconcile(domain.ctx, { provider, from: to.subtract({ hours: 26 }), to });
    await domain.stop();
    t.deepEqual(list, []);
    t.is(examined.charges, 1);
  },
);

test.serial('what is no orphan, took no money or is under way is refused, and nothing changes', async (t) => {
  const { subscriptionId } = await world.subscriber(softLater);
  const [known] = await world.query(
    `select e.provider, e.provider_event_id from webhook_event e
       join payment_attempt a using (provider_payment_id) where a.subscription_id = $1`,
    [subscriptionId],
  );
  const attach = (more: object) =>
    refused(t, api.paymentAdmin.attachOrphan({ ...head(), provider: 'sandbox', giveBack: true, ...more }, admin));
  const processed = { providerEventId: String(known!['provider_event_id']) };
  const paymentId = await lastPaymentOf(subscriptionId);
  t.is(await attach({ ...processed, paymentId }), 'FAILED_PRECONDITION WEBHOOK_EVENT_NOT_ORPHAN');
  t.is(await attach({ providerEventId: 'evt_none', paymentId }), 'NOT_FOUND WEBHOOK_EVENT_NOT_FOUND');

  const { event, money } = await orphan();
  t.is(await attach({ ...event, paymentId: randomUUID() }), 'NOT_FOUND PAYMENT_NOT_FOUND');
  await world.advance({ days: 32 });
  const waiting = await lastPaymentOf(subscriptionId);
  await world.query(
    `update payment_attempt set state = 'UNKNOWN', settled_at = null, decline_code = null, decline_hard = null,
       next_check_at = business_now() + interval '1 day' where payment_id = $1 and attempt_number = 1`,
    [waiting],
  );
  t.is(await attach({ ...event, paymentId: waiting, giveBack: false }), 'FAILED_PRECONDITION PAYMENT_OUTCOME_PENDING');

  const merchant = merchantOf(() => world.paymentSystem);
  const { id: unpaid } = await merchant.openCheckout();
  await world.query(`update webhook_event set provider_payment_id = $1 where provider_payment_id = $2`, [
    unpaid,
    money.id,
  ]);
  t.is(await attach({ ...event, paymentId }), 'FAILED_PRECONDITION ORPHAN_WITHOUT_MONEY');
  const partly = await orphan();
  const asked = { key: randomUUID(), body: { payment: partly.money.id, amount_minor: '100', reference: 'by-hand' } };
  t.is((await merchant.call('/v1/refunds', asked)).status, 200);
  const begun = await attach({ ...partly.event, paymentId });
  t.is(begun, 'FAILED_PRECONDITION ORPHAN_WITHOUT_MONEY', 'it is being given back already');
  await world.query(`update webhook_event set provider_payment_id = $1 where provider_payment_id = $2`, [
    money.id,
    unpaid,
  ]);

  const { events } = await api.paymentAdmin.listWebhookEvents({ state: WebhookEventState.ORPHAN }, admin);
  t.true(
    events.some(({ providerPaymentId }) => providerPaymentId === money.id),
    'it is an orphan still',
  );
  t.is(await refundedAt(money.id), '0');
  t.deepEqual(await factsOf(money.id), []);
});

test.serial('a repeat is answered as at first though the payment system is away', async (t) => {
  const { subscriptionId } = await world.subscriber();
  const { event } = await orphan({ amount_minor: '500' });
  const call = { ...head(), ...event, paymentId: await lastPaymentOf(subscriptionId), giveBack: true };
  const first = await api.paymentAdmin.attachOrphan(call, admin);
  await world.paymentSystem.kill();
  t.deepEqual(await api.paymentAdmin.attachOrphan(call, admin), first);
  const other = api.paymentAdmin.attachOrphan({ ...call, giveBack: false }, admin);
  t.is(await refused(t, other), 'INVALID_ARGUMENT REQUEST_ID_REUSED');
  const fresh = api.paymentAdmin.attachOrphan({ ...call, requestId: randomUUID() }, admin);
  t.is(await refused(t, fresh), 'UNAVAILABLE PROVIDER_UNAVAILABLE');
});
