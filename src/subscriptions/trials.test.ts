import { randomUUID } from 'node:crypto';
import test from 'ava';
import { PaymentMethodService } from '@cinema-billing/gen/billing/v1/payment_method_service_pb.ts';
import { SubscriptionStatus } from '@cinema-billing/gen/billing/v1/subscription_pb.ts';
import { grpcClient, RpcError } from '../cli/grpc-client.ts';
import { waitUntil } from '../testing/wait-until.ts';
import { startWorld, type World } from '../testing/world.ts';

let world: World;
test.before(async () => {
  world = await startWorld({ at: '2027-01-31T09:00:00Z' });
  await world.query(`update plan set trial_days = 14 where code = 'premium'`);
});
test.after.always(() => world?.stop());

const good = '4242424242424242';
const softLater = '4000000000000341';
const hardLater = '4000000000009979';

/** A viewer who takes the trial of the premium plan with a card; what became of it when the notice was worked off. */
async function takeTrial(card: string, userId: string = randomUUID()) {
  const token = await world.auth.token({ sub: userId });
  const { subscriptions } = world.clients();
  const { subscription, checkout } = await subscriptions.subscribe(
    { requestId: randomUUID(), priceId: world.prices.premium, withTrial: true },
    { token },
  );
  await world.paymentSystem.pay(checkout!.url, card);
  const state = () => subscriptions.getSubscription({ subscriptionId: subscription!.id }, { token });
  await waitUntil('the saved method is known', async () => {
    return (await state()).subscription!.status !== SubscriptionStatus.INCOMPLETE;
  });
  return {
    userId,
    token,
    subscriptionId: subscription!.id,
    state,
    status: async () => (await state()).subscription!.status,
  };
}

async function moneyTaken(userId: string): Promise<string[]> {
  return (await world.paymentSystem.payments())
    .filter((payment) => payment.customer_reference === userId && payment.status === 'succeeded')
    .map(({ amount_minor }) => amount_minor)
    .filter((amount) => amount !== '0');
}

test.serial('a trial takes nothing, gives the rights at once, and its end is the anchor of what is paid', async (t) => {
  const trial = await takeTrial(good);
  const begun = (await trial.state()).subscription!;
  t.is(begun.status, SubscriptionStatus.TRIALING);
  t.is(begun.currentPeriodEnd!.seconds - begun.currentPeriodStart!.seconds, 14n * 86_400n);
  t.deepEqual(await moneyTaken(trial.userId), []);
  const rights = await waitUntil('Auth knows', async () => {
    const user = await world.auth.user(trial.userId);
    return user.version === 1 && user;
  });
  t.deepEqual(rights.features, ['catalog.base', 'catalog.premieres', 'video.uhd']);
  await world.advance({ days: 15 });
  const paid = (await trial.state()).subscription!;
  t.is(paid.status, SubscriptionStatus.ACTIVE);
  t.is(paid.currentPeriodStart!.seconds, begun.currentPeriodEnd!.seconds);
  t.deepEqual(await moneyTaken(trial.userId), ['99900']);
  const [row] = await world.query(
    `select cycle, anchor_cycle, anchor_at = current_period_start as anchored from subscription where id = $1`,
    [trial.subscriptionId],
  );
  t.deepEqual(row, { cycle: 0, anchor_cycle: 0, anchored: true });
});

test.serial('a viewer and a card have one trial each; a hit never becomes a charge', async (t) => {
  // Good cards of this file so far: one viewer had a trial with it.
  const again = await takeTrial(good);
  t.is(await again.status(), SubscriptionStatus.INCOMPLETE_EXPIRED);
  const other = await takeTrial('4000056655665556');
  t.is(await other.status(), SubscriptionStatus.TRIALING);
  const { subscriptions } = world.clients();
  await subscriptions.cancelSubscription(
    { requestId: randomUUID(), subscriptionId: other.subscriptionId, effective: 2 },
    { token: other.token },
  );
  const request = { requestId: randomUUID(), priceId: world.prices.premium, withTrial: true };
  const error = await t.throwsAsync(subscriptions.subscribe(request, { token: other.token }), { instanceOf: RpcError });
  t.deepEqual([error!.code, error!.reason], ['FAILED_PRECONDITION', 'TRIAL_NOT_AVAILABLE']);
  const basic = { requestId: randomUUID(), priceId: world.prices.basic, withTrial: true };
  const none = await t.throwsAsync(subscriptions.subscribe(basic, { token: again.token }), { instanceOf: RpcError });
  t.is(none!.reason, 'TRIAL_NOT_AVAILABLE');
  await world.advance({ days: 20 });
  t.deepEqual([...(await moneyTaken(again.userId)), ...(await moneyTaken(other.userId))], []);
});

test.serial('a trial that cannot be paid for gives no grace: soft retries without access, hard ends', async (t) => {
  const soft = await takeTrial(softLater);
  const hard = await takeTrial(hardLater);
  await world.advance({ days: 15 });
  t.is(await soft.status(), SubscriptionStatus.PAST_DUE);
  t.is(await hard.status(), SubscriptionStatus.CANCELED);
  for (const { userId } of [soft, hard]) {
    const rights = await waitUntil('Auth has taken the rights', async () => {
      const user = await world.auth.user(userId);
      return user.version === 2 && user;
    });
    t.deepEqual(rights.features, []);
  }
});

test.serial('a cancelled trial runs to its end and takes no money', async (t) => {
  const trial = await takeTrial('4000002500001001');
  const { subscriptions } = world.clients();
  await subscriptions.cancelSubscription(
    { requestId: randomUUID(), subscriptionId: trial.subscriptionId },
    { token: trial.token },
  );
  t.is(await trial.status(), SubscriptionStatus.TRIALING);
  await world.advance({ days: 15 });
  t.is(await trial.status(), SubscriptionStatus.CANCELED);
  t.deepEqual(await moneyTaken(trial.userId), []);
});

test.serial(
  'another card saved on the page pays what a failed renewal owes, and the deadlines do not move',
  async (t) => {
    const { subscriptionId, token, userId } = await world.subscriber(softLater);
    await world.advance({ days: 33 });
    const methods = grpcClient(PaymentMethodService, world.service.grpcAddress);
    const { subscriptions } = world.clients();
    const owing = (await subscriptions.getSubscription({ subscriptionId }, { token })).subscription!;
    t.is(owing.status, SubscriptionStatus.PAST_DUE);
    const asked = { requestId: randomUUID(), subscriptionId };
    const { checkout } = await methods.startPaymentMethodSetup(asked, { token });
    t.is((await methods.startPaymentMethodSetup(asked, { token })).checkout!.url, checkout!.url);
    await world.paymentSystem.pay(checkout!.url, good);
    await waitUntil('the debt is paid', async () => {
      const { subscription } = await subscriptions.getSubscription({ subscriptionId }, { token });
      return subscription!.status === SubscriptionStatus.ACTIVE;
    });
    t.deepEqual(await moneyTaken(userId), ['29900', '29900']);
    const { paymentMethods } = await methods.listPaymentMethods({}, { token });
    t.deepEqual(
      paymentMethods.map(({ last4, inUse }) => [last4, inUse]),
      [
        ['4242', true],
        ['0341', false],
      ],
    );
  },
);
