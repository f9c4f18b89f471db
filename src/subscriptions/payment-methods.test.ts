import { randomUUID } from 'node:crypto';
import test from 'ava';
import { PaymentMethodService } from '@cinema-billing/gen/billing/v1/payment_method_service_pb.ts';
import { PaymentStatus } from '@cinema-billing/gen/billing/v1/payment_pb.ts';
import { SubscriptionEventKind, SubscriptionStatus } from '@cinema-billing/gen/billing/v1/subscription_pb.ts';
import { grpcClient, RpcError } from '../cli/grpc-client.ts';
import { waitUntil } from '../testing/wait-until.ts';
import { startWorld, type World } from '../testing/world.ts';

let world: World;
test.before(async () => {
  world = await startWorld();
});
test.after.always(() => world?.stop());

const softLater = '4000000000000341';

/** A second saved method: another viewer's good one, as the payment system knows it. */
async function saveAnother(userId: string): Promise<string> {
  const donor = await world.subscriber();
  const methodId = randomUUID();
  await world.query(`alter table payment_method drop constraint if exists payment_method_of_provider`);
  await world.query(
    `insert into payment_method (id, user_id, provider, merchant_account, provider_customer_id, provider_method_id, brand,
       last4, expiry_month, expiry_year, created_at)
     select $1, $2, provider, merchant_account, provider_customer_id, provider_method_id, brand, last4, expiry_month,
       expiry_year, business_now() from payment_method where user_id = $3`,
    [methodId, userId, donor.userId],
  );
  return methodId;
}

test.serial('a viewer sees their own methods and payments, and nobody else’s', async (t) => {
  const methods = grpcClient(PaymentMethodService, world.service.grpcAddress);
  const { subscriptions } = world.clients();
  const { token, subscriptionId } = await world.subscriber();
  const stranger = { token: await world.auth.token({ sub: randomUUID() }) };
  const { paymentMethods } = await methods.listPaymentMethods({}, { token });
  t.deepEqual(
    paymentMethods.map(({ brand, last4, inUse }) => [brand, last4, inUse]),
    [['visa', '4242', true]],
  );
  const { payments } = await subscriptions.listPayments({}, { token });
  t.deepEqual(
    payments.map(({ purpose, amount, refunded, status }) => [
      purpose,
      amount!.amountMinor,
      refunded!.amountMinor,
      status,
    ]),
    [['initial', 29_900n, 0n, PaymentStatus.SUCCEEDED]],
  );
  t.deepEqual((await methods.listPaymentMethods({}, stranger)).paymentMethods, []);
  t.deepEqual((await subscriptions.listPayments({}, stranger)).payments, []);
  const asked = { requestId: randomUUID(), paymentMethodId: paymentMethods[0]!.id };
  for (const call of [methods.detachPaymentMethod(asked, stranger), methods.setDefaultPaymentMethod(asked, stranger)]) {
    const error = await t.throwsAsync(call, { instanceOf: RpcError });
    t.deepEqual([error!.code, error!.reason], ['NOT_FOUND', 'PAYMENT_METHOD_NOT_FOUND']);
  }
  const { endingSubscriptionIds } = await methods.detachPaymentMethod(asked, { token });
  t.deepEqual(endingSubscriptionIds, [subscriptionId]);
  t.deepEqual((await methods.listPaymentMethods({}, { token })).paymentMethods, []);
});

test.serial(
  'a recovery after the grace says in the history that time was forgiven before it says renewed',
  async (t) => {
    const methods = grpcClient(PaymentMethodService, world.service.grpcAddress);
    const { subscriptions } = world.clients();
    const viewers = [await world.subscriber(softLater), await world.subscriber(softLater)];
    await world.advance({ days: 40 });
    for (const { token, subscriptionId } of viewers) {
      const { checkout } = await methods.startPaymentMethodSetup(
        { requestId: randomUUID(), subscriptionId },
        { token },
      );
      await world.paymentSystem.pay(checkout!.url);
      const events = await waitUntil('the recovery', async () => {
        const history = await subscriptions.listSubscriptionEvents({ subscriptionId }, { token });
        return history.events[0]!.kind === SubscriptionEventKind.RENEWED && history.events;
      });
      t.is(events[1]!.kind, SubscriptionEventKind.PERIOD_FORGIVEN);
    }
  },
);

test.serial('another method pays what is owed at once; the deadlines had stayed and are gone', async (t) => {
  const methods = grpcClient(PaymentMethodService, world.service.grpcAddress);
  const { subscriptions } = world.clients();
  const { token, subscriptionId, userId } = await world.subscriber(softLater);
  await world.advance({ days: 33 });
  const before = await subscriptions.getSubscription({ subscriptionId }, { token });
  t.is(before.subscription!.status, SubscriptionStatus.PAST_DUE);
  const paymentMethodId = await saveAnother(userId);
  const { now } = await world.clients().sandbox.getClock({});
  await methods.setDefaultPaymentMethod({ requestId: randomUUID(), paymentMethodId }, { token });
  await world.advance({ hours: 0 });
  const after = await subscriptions.getSubscription({ subscriptionId }, { token });
  t.is(after.subscription!.status, SubscriptionStatus.ACTIVE);
  t.is((await world.clients().sandbox.getClock({})).now!.seconds, now!.seconds);
  // In the grace period: the bounds that were due, not new ones.
  t.is(after.subscription!.currentPeriodStart!.seconds, before.subscription!.currentPeriodEnd!.seconds);
});
