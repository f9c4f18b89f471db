import { randomUUID } from 'node:crypto';
import { fromBinary } from '@bufbuild/protobuf';
import { timestampDate, type Timestamp } from '@bufbuild/protobuf/wkt';
import test from 'ava';
import { jetstreamManager, type JetStreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { CustomerNoticeSchema, type CustomerNotice } from '@cinema-billing/gen/billing/events/v1/customer_notice_pb.ts';
import { IntervalUnit } from '@cinema-billing/gen/billing/v1/plan_pb.ts';
import { CancelEffective } from '@cinema-billing/gen/billing/v1/subscription_service_pb.ts';
import { waitUntil } from '../testing/wait-until.ts';
import { startWorld, type World } from '../testing/world.ts';

let world: World;
let nats: NatsConnection;
let manager: JetStreamManager;
test.before(async () => {
  world = await startWorld({ at: '2027-01-15T09:00:00Z' });
  nats = await connect({ servers: world.nats.url, maxReconnectAttempts: -1, reconnectTimeWait: 50 });
  manager = await jetstreamManager(nats, { checkAPI: false });
});
test.after.always(async () => {
  await nats?.close();
  await world?.stop();
});

const softLater = '4000000000000341';
const hardLater = '4000000000009979';
const actionLater = '4000000000003220';

/**
 * What the stream has for a viewer, in its order; waits until there are as many. Of renewals to come only where the test
 * is about them: every renewal has one.
 */
async function noticesOf(userId: string, count: number, kinds?: CustomerNotice['notice']['case'][]) {
  return waitUntil(`${count} notices`, async () => {
    const { state } = await manager.streams.info('BILLING_NOTICES');
    const found: CustomerNotice[] = [];
    for (let seq = state.first_seq; seq > 0 && seq <= state.last_seq; seq++) {
      const message = await manager.streams.getMessage('BILLING_NOTICES', { seq });
      if (message?.subject !== `billing.notices.v1.${userId}`) continue;
      const notice = fromBinary(CustomerNoticeSchema, message.data);
      if (message.header.get('Nats-Msg-Id') !== notice.eventId) throw new Error('another id than its message');
      const isAbout = kinds ? kinds.includes(notice.notice.case) : notice.notice.case !== 'renewalUpcoming';
      if (isAbout) found.push(notice);
    }
    return found.length >= count && found;
  });
}

const clockMs = async () => ((await world.query(`select business_now() as now`))[0]!['now'] as Date).getTime();
const at = (timestamp: Timestamp | undefined) => timestamp && timestampDate(timestamp).toISOString();

test.serial(
  'a declined renewal is told with what was owed, until when there is access, and when it ends',
  async (t) => {
    const { userId, subscriptionId } = await world.subscriber(softLater);
    await world.advance({ days: 31.5 });
    const [first] = await noticesOf(userId, 1);
    t.is(first!.subscriptionId, subscriptionId);
    t.is(at(first!.occurredAt), '2027-02-15T09:00:00.000Z');
    const told = first!.notice;
    t.is(told.case, 'paymentFailed');
    if (told.case !== 'paymentFailed') return;
    t.is(told.value.amount!.amountMinor, 29_900n);
    t.is(told.value.declineCode, 'insufficient_funds');
    // Grace of 7 days, dunning of 14; the next try a day later, up to six hours more.
    t.is(at(told.value.accessUntil), '2027-02-22T09:00:00.000Z');
    t.is(at(told.value.endsAt), '2027-03-01T09:00:00.000Z');
    const next = at(told.value.nextAttemptAt)!;
    t.true(next >= '2027-02-16T09:00:00.000Z' && next <= '2027-02-16T15:00:00.000Z', next);
  },
);

test.serial('a hard decline names no next try; a renewal to be confirmed names the page', async (t) => {
  const hard = await world.subscriber(hardLater);
  const action = await world.subscriber(actionLater);
  // From the middle of February to the middle of March.
  await world.advance({ days: 28.2 });
  const [declined] = await noticesOf(hard.userId, 1);
  t.is(declined!.notice.case, 'paymentFailed');
  if (declined!.notice.case === 'paymentFailed') t.is(declined!.notice.value.nextAttemptAt, undefined);
  const [toConfirm] = await noticesOf(action.userId, 1);
  t.is(toConfirm!.notice.case, 'paymentActionRequired');
  const [attempt] = await world.query(
    `select checkout_url from payment_attempt where subscription_id = $1 and kind = 'charge' order by created_at limit 1`,
    [action.subscriptionId],
  );
  if (toConfirm!.notice.case === 'paymentActionRequired') {
    t.is(toConfirm!.notice.value.actionUrl, attempt!['checkout_url'] as string);
  }
  // Leaves: a charge that waits to be confirmed is looked up in every hour that the tests after this one let pass.
  const { subscriptions } = world.clients();
  const cancel = { requestId: randomUUID(), subscriptionId: action.subscriptionId, effective: CancelEffective.NOW };
  await subscriptions.cancelSubscription(cancel, { token: action.token });
  subscriptions.close();
});

test.serial('money that went back, and a dispute, are told once each, with their payment', async (t) => {
  const { userId } = await world.subscriber();
  const { paymentAdmin } = world.clients();
  const admin = { token: await world.auth.token({ sub: 'olga', role: 'admin' }) };
  const [payment] = (await paymentAdmin.listPayments({ userId }, admin)).payments;
  const paymentId = payment!.payment!.id;
  const amount = { currencyCode: 'RUB', amountMinor: 10_000n };
  const request = { requestId: randomUUID(), reason: 'the sound was bad', paymentId, amount };
  await paymentAdmin.refundPayment(request, admin);
  await paymentAdmin.refundPayment(request, admin);
  await world.paymentSystem.dispute(payment!.attempts[0]!.providerPaymentId);
  const notices = await noticesOf(userId, 2);
  await world.advance({ hours: 1 });
  t.is((await noticesOf(userId, 2)).length, 2);
  const [refunded, disputed] = ['refundSucceeded', 'disputeOpened'].map(
    (kind) => notices.find(({ notice }) => notice.case === kind)?.notice,
  );
  t.like(refunded, { value: { paymentId, amount } });
  t.like(disputed, { value: { paymentId, amount: { currencyCode: 'RUB' } } });
  paymentAdmin.close();
});

test.serial('a price is announced to those who will pay it, with both prices and the day', async (t) => {
  const { userId } = await world.subscriber();
  const { planAdmin } = world.clients();
  const admin = { token: await world.auth.token({ sub: 'olga', role: 'admin' }) };
  const plan = (await planAdmin.listPlans({}, admin)).plans.find((one) => one.plan!.code === 'basic')!;
  const change = () => ({ requestId: randomUUID(), reason: 'dearer', planId: plan.plan!.id });
  const price = {
    amount: { currencyCode: 'RUB', amountMinor: 34_900n },
    intervalUnit: IntervalUnit.MONTH,
    intervalCount: 1,
  };
  const added = await planAdmin.addPrice({ ...change(), etag: plan.etag, price }, admin);
  const moved = await planAdmin.movePrice(
    {
      ...change(),
      etag: added.plan!.etag,
      fromPriceId: world.prices.basic,
      toPriceId: added.priceId,
    },
    admin,
  );
  const [announced] = await noticesOf(userId, 1);
  t.is(announced!.notice.case, 'priceChangeAnnounced');
  if (announced!.notice.case !== 'priceChangeAnnounced') return;
  const { priceBefore, price: priceTold, appliesFrom } = announced!.notice.value;
  t.deepEqual([priceBefore!.amountMinor, priceTold!.amountMinor], [29_900n, 34_900n]);
  t.is(at(appliesFrom), at(moved.appliesFrom));
  planAdmin.close();
});

test.serial(
  'a trial’s end is told seven days before, with what will be charged, and again when it goes on after all',
  async (t) => {
    await world.query(`update plan set trial_days = 30 where code = 'basic'`);
    const { userId, subscriptionId, token } = await world.subscriber(undefined, { withTrial: true });
    const [row] = await world.query(`select current_period_end from subscription where id = $1`, [subscriptionId]);
    const endsAtMs = (row!['current_period_end'] as Date).getTime();
    await world.advance({ days: 22.9 });
    t.deepEqual(await world.query(`select 1 from customer_notice where user_id = $1`, [userId]), []);
    await world.advance({ days: 0.2 });
    const [told] = await noticesOf(userId, 1);
    t.is(timestampDate(told!.occurredAt!).getTime(), endsAtMs - 7 * 86_400_000);
    t.is(told!.notice.case, 'trialEnding');
    if (told!.notice.case !== 'trialEnding') return;
    const { amount, chargedAt, cardBrand, cardLast4 } = told!.notice.value;
    t.deepEqual([amount!.amountMinor, timestampDate(chargedAt!).getTime()], [29_900n, endsAtMs]);
    t.deepEqual([cardBrand, cardLast4], ['visa', '4242']);
    const { subscriptions } = world.clients();
    const asked = () => ({ requestId: randomUUID(), subscriptionId });
    await subscriptions.cancelSubscription(asked(), { token });
    await world.advance({ days: 2 });
    t.is((await noticesOf(userId, 1)).length, 1);
    await subscriptions.resumeSubscription(asked(), { token });
    subscriptions.close();
    t.is((await noticesOf(userId, 2)).length, 2);
    await world.advance({ days: 7 });
    const [after] = await world.query(`select status from subscription where id = $1`, [subscriptionId]);
    t.is(after!['status'], 'ACTIVE');
    t.is((await noticesOf(userId, 2)).length, 2);
  },
);

test.serial('a trial shorter than a week is told of when it begins; a cancelled one is not', async (t) => {
  await world.query(`update plan set trial_days = 3 where code = 'basic'`);
  const { userId } = await world.subscriber('4000056655665556', { withTrial: true });
  t.is((await noticesOf(userId, 1))[0]!.notice.case, 'trialEnding');
  await world.query(`update plan set trial_days = 14 where code = 'basic'`);
  const other = await world.subscriber('4000002500001001', { withTrial: true });
  const { subscriptions } = world.clients();
  const cancel = { requestId: randomUUID(), subscriptionId: other.subscriptionId };
  await subscriptions.cancelSubscription(cancel, { token: other.token });
  subscriptions.close();
  await world.advance({ days: 15 });
  const rows = await world.query(`select status from subscription where id = $1`, [other.subscriptionId]);
  t.deepEqual(rows, [{ status: 'CANCELED' }]);
  t.deepEqual(await world.query(`select kind from customer_notice where user_id = $1`, [other.userId]), []);
});

test.serial('a renewal is told seven days before, once, with what will be charged and by which card', async (t) => {
  const { userId, subscriptionId } = await world.subscriber();
  const [due] = await world.query(`select next_charge_at from subscription where id = $1`, [subscriptionId]);
  const chargedAtMs = (due!['next_charge_at'] as Date).getTime();
  await world.query(
    `insert into promo_code (id, code, percent_off, cycles, created_at) values ($1, 'TEN', 10, 3, now())`,
    [subscriptionId],
  );
  await world.query(`insert into promo_redemption values ($1, $1, $2, now())`, [subscriptionId, userId]);
  const told = () => world.query(`select occurred_at, body from customer_notice where user_id = $1`, [userId]);
  const hours = (chargedAtMs - 7 * 86_400_000 - (await clockMs())) / 3_600_000;
  await world.advance({ hours: hours - 0.1 });
  t.deepEqual(await told(), []);
  await world.advance({ hours: 0.2 });
  const [notice] = await noticesOf(userId, 1, ['renewalUpcoming']);
  t.is(timestampDate(notice!.occurredAt!).getTime(), chargedAtMs - 7 * 86_400_000);
  t.is(notice!.subscriptionId, subscriptionId);
  if (notice!.notice.case !== 'renewalUpcoming') return t.fail();
  const { amount, chargedAt, cardBrand, cardLast4 } = notice!.notice.value;
  // Ten per cent off 299 roubles.
  t.deepEqual([amount!.amountMinor, timestampDate(chargedAt!).getTime()], [26_910n, chargedAtMs]);
  t.deepEqual([cardBrand, cardLast4], ['visa', '4242']);
  await world.advance({ days: 7.5 });
  t.is((await told()).length, 1);
  const charges = (await world.paymentSystem.payments()).filter((one) => one.customer_reference === userId);
  t.deepEqual(
    charges.map(({ amount_minor }) => String(amount_minor)),
    ['29900', '26910'],
  );
});

test.serial(
  'a card that will have expired is told with its month; one that is good in that month is not',
  async (t) => {
    const [expiring, lasting] = [await world.subscriber(), await world.subscriber()];
    const [due] = await world.query(`select next_charge_at from subscription where id = $1`, [expiring.subscriptionId]);
    const chargedAt = due!['next_charge_at'] as Date;
    const expire = (userId: string, date: Date) =>
      world.query(`update payment_method set expiry_year = $2, expiry_month = $3 where user_id = $1`, [
        userId,
        date.getUTCFullYear(),
        date.getUTCMonth() + 1,
      ]);
    const monthBefore = new Date(Date.UTC(chargedAt.getUTCFullYear(), chargedAt.getUTCMonth() - 1, 1));
    await expire(expiring.userId, monthBefore);
    await expire(lasting.userId, chargedAt);
    await world.advance({ hours: (chargedAt.getTime() - 6 * 86_400_000 - (await clockMs())) / 3_600_000 });
    const [notice] = await noticesOf(expiring.userId, 1, ['paymentMethodExpiring']);
    if (notice!.notice.case !== 'paymentMethodExpiring') return t.fail();
    const { cardBrand, cardLast4, expiryMonth, expiryYear, chargedAt: told } = notice!.notice.value;
    t.deepEqual([cardBrand, cardLast4], ['visa', '4242']);
    t.deepEqual([expiryYear, expiryMonth], [monthBefore.getUTCFullYear(), monthBefore.getUTCMonth() + 1]);
    t.is(timestampDate(told!).getTime(), chargedAt.getTime());
    const kinds = (userId: string) =>
      world.query(`select kind from customer_notice where user_id = $1 order by kind`, [userId]);
    t.deepEqual(await kinds(expiring.userId), [{ kind: 'paymentMethodExpiring' }, { kind: 'renewalUpcoming' }]);
    t.deepEqual(await kinds(lasting.userId), [{ kind: 'renewalUpcoming' }]);
  },
);

test.serial('what will not be charged is not announced: a cancellation, a gift, a dispute', async (t) => {
  const canceled = await world.subscriber();
  const disputed = await world.subscriber();
  const { subscriptions, subscriptionAdmin } = world.clients();
  const asked = { requestId: randomUUID(), subscriptionId: canceled.subscriptionId };
  await subscriptions.cancelSubscription(asked, { token: canceled.token });
  const admin = { token: await world.auth.token({ sub: 'olga', role: 'admin' }) };
  const gifted = randomUUID();
  await subscriptionAdmin.grantSubscription(
    { requestId: randomUUID(), reason: 'a prize', userId: gifted, priceId: world.prices.basic, days: 20 },
    admin,
  );
  const payments = await world.paymentSystem.payments();
  await world.paymentSystem.dispute(payments.find((one) => one.customer_reference === disputed.userId)!.id);
  await waitUntil('the dispute is known', async () => {
    const [row] = await world.query(`select renewal_blocked from subscription where id = $1`, [
      disputed.subscriptionId,
    ]);
    return row!['renewal_blocked'] === true;
  });
  const renewing = await world.subscriber();
  await world.advance({ days: 27 });
  const announced = await world.query(
    `select user_id from customer_notice where kind = 'renewalUpcoming' and user_id = any($1)`,
    [[canceled.userId, disputed.userId, gifted, renewing.userId]],
  );
  t.deepEqual(announced, [{ user_id: renewing.userId }]);
  subscriptions.close();
  subscriptionAdmin.close();
});

test.serial('two replicas announce every charge once, also where hundreds are due at one instant', async (t) => {
  const { subscriptionId } = await world.subscriber();
  const copies = 1_200;
  const rows = await world.query(
    `with copy as (select gen_random_uuid() as id, gen_random_uuid() as user_id from generate_series(1, $2)),
       customers as (insert into customer select user_id, now() from copy)
     insert into subscription (id, user_id, plan_id, price_id, product_line, status, billing_time_zone, anchor_at,
       current_period_start, current_period_end, payment_method_id, next_charge_at, created_at)
     select copy.id, copy.user_id, plan_id, price_id, product_line, status, billing_time_zone, anchor_at,
       current_period_start, current_period_end, payment_method_id, next_charge_at, created_at
     from subscription s, copy where s.id = $1 returning id`,
    [subscriptionId, copies],
  );
  const ids = rows.map(({ id }) => id);
  const { target } = world.webhooks;
  const second = await world.startReplica();
  world.webhooks.target = target;
  const [due] = await world.query(`select next_charge_at - interval '6 days' as at from subscription where id = $1`, [
    subscriptionId,
  ]);
  await world.query(`update sandbox_clock set set_to = $1`, [due!['at']]);
  const counted = () =>
    world.query(
      `select count(*)::int as told, count(distinct subscription_id)::int as subscriptions from customer_notice
         where subscription_id = any($1)`,
      [ids],
    );
  await waitUntil('all are announced', async () => Number((await counted())[0]!['subscriptions']) === copies);
  await world.advance({ hours: 1 });
  t.deepEqual(await counted(), [{ told: copies, subscriptions: copies }]);
  await world.query(
    `update subscription set next_charge_at = null, next_transition_at = 'infinity' where id = any($1)`,
    [ids],
  );
  await second.stop();
});

test.serial('while the broker is away nothing is lost: every notice comes when it is back, once', async (t) => {
  const { userId } = await world.subscriber(softLater);
  await world.nats.stop();
  // Nothing else is due: a renewal that is declined a few times while nobody can be told.
  await world.query(
    `update subscription set next_charge_at = null where user_id <> $1 and ended_at is null and next_transition_at is not null`,
    [userId],
  );
  await world.query(`update sandbox_clock set set_to = (select next_charge_at from subscription where user_id = $1)`, [
    userId,
  ]);
  await waitUntil('the decline is written down', async () => {
    const rows = await world.query(
      `select 1 from customer_notice where user_id = $1 and kind = 'paymentFailed' and published_at is null`,
      [userId],
    );
    return rows.length === 1;
  });
  await world.nats.start();
  const isBack = () =>
    nats.flush().then(
      () => true,
      () => false,
    );
  await waitUntil('our own connection is back', isBack);
  t.is((await noticesOf(userId, 1)).length, 1);
  const left = async () => (await world.query(`select 1 from customer_notice where published_at is null`)).length === 0;
  t.true(await waitUntil('all are marked', left));
});
