import { createHmac, randomUUID } from 'node:crypto';
import test from 'ava';
import { PaymentMethodService } from '@cinema-billing/gen/billing/v1/payment_method_service_pb.ts';
import { CancelEffective } from '@cinema-billing/gen/billing/v1/subscription_service_pb.ts';
import { SubscriptionStatus } from '@cinema-billing/gen/billing/v1/subscription_pb.ts';
import { grpcClient } from '../cli/grpc-client.ts';
import { verifyLedger } from '../ledger/verify-ledger.ts';
import { refundPayment } from '../payments/refund-payment.ts';
import { viewerWith } from '../testing/changing-viewer.ts';
import { openDomain, type Domain } from '../testing/domain.ts';
import { waitUntil } from '../testing/wait-until.ts';
import { startWorld, type World } from '../testing/world.ts';

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

const good = '4242424242424242';
const softLater = '4000000000000341';
const actionLater = '4000000000003220';
const refundWaits = '4000000000007726';

async function addPrice(like: string, amountMinor: number): Promise<string> {
  const id = randomUUID();
  await world.query(
    `insert into price select $1, plan_id, currency_code, $3, interval_unit, interval_count, created_at
     from price where id = $2`,
    [id, like, amountMinor],
  );
  return id;
}

/** To the instant at which the next charge is due, or so many hours before it. */
async function advanceToRenewal(subscriptionId: string, hoursBefore = 0): Promise<void> {
  const [row] = await world.query(
    `select extract(epoch from next_charge_at - business_now()) / 3600 as hours from subscription where id = $1`,
    [subscriptionId],
  );
  await world.advance({ hours: Number(row!['hours']) - hoursBefore });
}

test.serial('renewal due with a scheduled downgrade and an open refund: each goes its own way', async (t) => {
  const viewer = await viewerWith(t, world, refundWaits);
  const [payment] = await world.query(`select id from payment where subscription_id = $1`, [viewer.subscriptionId]);
  await viewer.change(await addPrice(world.prices.basic, 19_900));
  const refundsOf = async () =>
    world.query(
      `select r.state from refund r join payment_attempt a on a.id = r.attempt_id where a.subscription_id = $1`,
      [viewer.subscriptionId],
    );
  await advanceToRenewal(viewer.subscriptionId, 0.5);
  const paymentId = payment!['id'] as string;
  // Takes an hour: the renewal is due in between.
  await refundPayment(domain.ctx, { requestId: randomUUID(), paymentId, amountMinor: 9_900n, reason: 'sorry' });
  await advanceToRenewal(viewer.subscriptionId);
  t.deepEqual(await refundsOf(), [{ state: 'PENDING' }]);
  t.deepEqual(await viewer.charged(), [19_900]);
  await world.advance({ hours: 2 });
  t.deepEqual(await refundsOf(), [{ state: 'SUCCEEDED' }]);
  const initial = (await world.paymentSystem.payments()).find((found) => found.customer_reference === viewer.userId);
  t.is(Number(initial!.refunded_minor), 9_900);
  t.deepEqual(await viewer.charged(), [19_900]);
  const { list, holds } = await verifyLedger(domain.ctx);
  t.deepEqual([list, holds], [[], true]);
});

test.serial(
  'cancel now during an unknown attempt: nothing is charged twice, and what was taken goes back',
  async (t) => {
    const viewer = await viewerWith(t, world);
    await world.paymentSystem.script(viewer.userId, { charges: [{ outcome: 'charged_500' }], webhooks: 'lost' });
    await world.query(`update subscription set next_charge_at = business_now() where id = $1`, [viewer.subscriptionId]);
    const state = async () => {
      const [attempt] = await world.query(
        `select state from payment_attempt where subscription_id = $1 and kind = 'charge'`,
        [viewer.subscriptionId],
      );
      return attempt?.['state'];
    };
    await waitUntil('the outcome is unknown', async () => (await state()) === 'UNKNOWN');
    const { subscriptionId, token, subscriptions } = viewer;
    await subscriptions.cancelSubscription(
      { requestId: randomUUID(), subscriptionId, effective: CancelEffective.NOW },
      { token },
    );
    t.is((await viewer.seen()).status, SubscriptionStatus.CANCELED);
    t.deepEqual((await viewer.authSees(2)).features, []);
    await world.advance({ hours: 1 });
    t.is(await state(), 'SUCCEEDED');
    t.deepEqual(await viewer.charged(), [0]);
    t.is((await viewer.seen()).status, SubscriptionStatus.CANCELED);
  },
);

/** A viewer whose renewal waits to be confirmed with card A, and who has saved card B meanwhile. */
async function secondCard(t: Parameters<typeof viewerWith>[0]) {
  const viewer = await viewerWith(t, world, actionLater);
  await advanceToRenewal(viewer.subscriptionId);
  const { payments } = await viewer.subscriptions.listPayments({}, { token: viewer.token });
  const { actionUrl } = payments[0]!;
  t.not(actionUrl, '');
  const methods = grpcClient(PaymentMethodService, world.service.grpcAddress);
  t.teardown(() => methods.close());
  const asked = { requestId: randomUUID(), subscriptionId: viewer.subscriptionId };
  const { checkout } = await methods.startPaymentMethodSetup(asked, { token: viewer.token });
  await world.paymentSystem.pay(checkout!.url, good);
  await waitUntil('card B pays', async () => (await viewer.seen()).status === SubscriptionStatus.ACTIVE);
  return { ...viewer, actionUrl };
}

test.serial('3-D Secure of card A finished after card B paid: only B’s money is kept', async (t) => {
  const viewer = await secondCard(t);
  await world.paymentSystem.confirm(viewer.actionUrl).catch(() => undefined);
  await world.advance({ hours: 2 });
  t.deepEqual(await viewer.charged(), [29_900]);
  t.is((await viewer.statuses()).filter((status) => status === 'requires_action').length, 0);
});

test.serial('webhook of an old attempt after a new card: it changes nothing, whatever it claims', async (t) => {
  const viewer = await secondCard(t);
  const [old] = await world.query(
    `select id, provider_payment_id as payment from payment_attempt
     where subscription_id = $1 and kind = 'charge' order by attempt_number limit 1`,
    [viewer.subscriptionId],
  );
  const [row] = await world.query(`select payload from webhook_event order by received_at desc limit 1`);
  const notice = JSON.parse((row!['payload'] as Buffer).toString()) as { data: object };
  const object = { ...notice.data, id: old!['payment'], reference: old!['id'], status: 'succeeded' };
  const eventId = `evt_${randomUUID()}`;
  const body = JSON.stringify({ ...notice, id: eventId, type: 'payment.succeeded', data: object });
  const at = Math.floor(Date.now() / 1000);
  const hash = createHmac('sha256', world.paymentSystem.webhookSecret).update(`${at}.`).update(body).digest('hex');
  const before = await viewer.history();
  const { status } = await fetch(`${world.service.httpUrl}/v1/webhooks/sandbox`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'sandbox-signature': `t=${at},v1=${hash}` },
    body,
  });
  t.is(status, 200);
  await waitUntil('the notice is worked off', async () => {
    const [event] = await world.query(`select state from webhook_event where provider_event_id = $1`, [eventId]);
    return event?.['state'] === 'PROCESSED';
  });
  t.deepEqual(await viewer.history(), before);
  t.deepEqual(await viewer.charged(), [29_900]);
  t.is((await viewer.seen()).status, SubscriptionStatus.ACTIVE);
});

test.serial('two product lines of which one ends: the other one’s rights and renewals go on', async (t) => {
  const viewer = await viewerWith(t, world);
  const [planId, priceId] = [randomUUID(), randomUUID()];
  await world.query(`insert into plan values ($1, $2, 'Sport', '', '{sport.live}', 'sport', null, '2027-01-01')`, [
    planId,
    `sport-${planId.slice(0, 8)}`,
  ]);
  await world.query(`insert into price values ($1, $2, 'RUB', 49900, 'month', 1, '2027-01-01')`, [priceId, planId]);
  const { subscriptions, token } = viewer;
  const sport = await subscriptions.subscribe({ requestId: randomUUID(), priceId }, { token });
  await world.paymentSystem.pay(sport.checkout!.url, good);
  t.deepEqual((await viewer.authSees(2)).features, ['catalog.base', 'sport.live']);
  const { subscriptionId } = viewer;
  await subscriptions.cancelSubscription({ requestId: randomUUID(), subscriptionId }, { token });
  await world.advance({ days: 32 });
  t.is((await viewer.seen()).status, SubscriptionStatus.CANCELED);
  const other = await subscriptions.getSubscription({ subscriptionId: sport.subscription!.id }, { token });
  t.is(other.subscription!.status, SubscriptionStatus.ACTIVE);
  t.deepEqual(await viewer.charged(), [49_900]);
  await waitUntil('Auth knows of both', async () => {
    const user = await world.auth.user(viewer.userId);
    return user.version === 5 && user.features.join() === 'sport.live';
  });
});

test.serial('card removed during dunning: no retry follows, the grace stays, the dunning ends it', async (t) => {
  const viewer = await viewerWith(t, world, softLater);
  await advanceToRenewal(viewer.subscriptionId);
  t.is((await viewer.seen()).status, SubscriptionStatus.PAST_DUE);
  const graceOf = async () => {
    const [row] = await world.query(`select grace_until, dunning_ends_at from subscription where id = $1`, [
      viewer.subscriptionId,
    ]);
    return row!;
  };
  const deadlines = await graceOf();
  const methods = grpcClient(PaymentMethodService, world.service.grpcAddress);
  t.teardown(() => methods.close());
  const { paymentMethods } = await methods.listPaymentMethods({}, { token: viewer.token });
  const removed = { requestId: randomUUID(), paymentMethodId: paymentMethods[0]!.id };
  await methods.detachPaymentMethod(removed, { token: viewer.token });
  t.deepEqual(await graceOf(), deadlines);
  await world.advance({ days: 6 });
  t.is((await world.auth.user(viewer.userId)).grants.length, 1);
  await world.advance({ days: 2 });
  t.deepEqual((await viewer.authSees(3)).features, []);
  await world.advance({ days: 8 });
  t.is((await viewer.seen()).status, SubscriptionStatus.CANCELED);
  t.deepEqual(await viewer.statuses(), ['declined']);
});
