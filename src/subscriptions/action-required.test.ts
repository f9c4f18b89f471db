import { randomUUID } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import { PaymentMethodService } from '@cinema-billing/gen/billing/v1/payment_method_service_pb.ts';
import { SubscriptionStatus } from '@cinema-billing/gen/billing/v1/subscription_pb.ts';
import { CancelEffective } from '@cinema-billing/gen/billing/v1/subscription_service_pb.ts';
import { grpcClient } from '../cli/grpc-client.ts';
import { waitUntil } from '../testing/wait-until.ts';
import { startWorld, type World } from '../testing/world.ts';

let world: World;
test.before(async () => {
  world = await startWorld();
});
test.after.always(() => world?.stop());

const needsConfirmation = '4000000000003220';
const good = '4242424242424242';

/** A charge that waits to be confirmed is looked up in every hour that the tests after this one let pass. */
async function leave({ subscriptionId, token }: { subscriptionId: string; token: string }): Promise<void> {
  const { subscriptions } = world.clients();
  await subscriptions.cancelSubscription(
    { requestId: randomUUID(), subscriptionId, effective: CancelEffective.NOW },
    { token },
  );
  subscriptions.close();
}

/** A viewer whose bank wants every later charge confirmed, a month on. */
async function askedToConfirm(t: ExecutionContext) {
  const { userId, subscriptionId, token } = await world.subscriber(needsConfirmation);
  const [due] = await world.query(
    `select extract(epoch from next_charge_at - business_now()) / 3600 as hours from subscription where id = $1`,
    [subscriptionId],
  );
  await world.advance({ hours: Number(due!['hours']) });
  const { subscriptions } = world.clients();
  const seen = async () => (await subscriptions.getSubscription({ subscriptionId }, { token })).subscription!;
  t.is((await seen()).status, SubscriptionStatus.PAST_DUE);
  const rights = await waitUntil('Auth knows of the grace', async () => {
    const user = await world.auth.user(userId);
    return user.version === 2 && user;
  });
  t.deepEqual(
    rights.grants.map(({ in_grace }) => in_grace),
    [true],
  );
  const { payments } = await subscriptions.listPayments({}, { token });
  return {
    userId,
    subscriptionId,
    token,
    seen,
    actionUrl: payments[0]!.actionUrl,
    status: async () => (await seen()).status,
    /** What the payment system has of the renewals, oldest first. */
    charges: async () =>
      (await world.paymentSystem.payments())
        .filter((payment) => payment.customer_reference === userId && payment.kind === 'off_session')
        .map(({ status }) => status),
  };
}

test.serial(
  'a charge that the viewer has to confirm is a failed renewal until they do, and is not retried',
  async (t) => {
    const viewer = await askedToConfirm(t);
    t.deepEqual(await viewer.charges(), ['requires_action']);
    await world.paymentSystem.confirm(viewer.actionUrl);
    await waitUntil('the renewal', async () => (await viewer.status()) === SubscriptionStatus.ACTIVE);
    t.deepEqual(await viewer.charges(), ['succeeded']);
    const [row] = await world.query(`select cycle, dunning_ends_at as over from subscription where id = $1`, [
      viewer.subscriptionId,
    ]);
    t.deepEqual(row, { cycle: 1, over: null });
    await leave(viewer);
  },
);

test.serial(
  'a refused confirmation counts as the attempt it was: the ladder goes on from the first failure',
  async (t) => {
    const viewer = await askedToConfirm(t);
    await world.paymentSystem.confirm(viewer.actionUrl, 'refuse');
    await waitUntil('the decline', async () => (await viewer.charges())[0] === 'declined');
    await world.advance({ hours: 0 });
    const [row] = await world.query(
      `select open_payment_id as open, next_charge_at > dunning_ends_at - interval '14 days' as later,
       next_charge_at <= dunning_ends_at as within from subscription where id = $1`,
      [viewer.subscriptionId],
    );
    t.deepEqual(row, { open: null, later: true, within: true });
    const kinds = await world.query(
      `select kind from subscription_event where subscription_id = $1 order by occurred_at, id`,
      [viewer.subscriptionId],
    );
    t.deepEqual(
      kinds.map(({ kind }) => kind),
      ['SUBSCRIBED', 'ACTIVATED', 'PAYMENT_ACTION_REQUIRED', 'PAYMENT_DECLINED'],
    );
    await leave(viewer);
  },
);

test.serial(
  'another card saved meanwhile: the charge that waits is killed first, and only the new card pays',
  async (t) => {
    const viewer = await askedToConfirm(t);
    const methods = grpcClient(PaymentMethodService, world.service.grpcAddress);
    const asked = { requestId: randomUUID(), subscriptionId: viewer.subscriptionId };
    const { checkout } = await methods.startPaymentMethodSetup(asked, { token: viewer.token });
    await world.paymentSystem.pay(checkout!.url, good);
    await waitUntil('the new card pays', async () => (await viewer.status()) === SubscriptionStatus.ACTIVE);
    const [first, ...others] = await viewer.charges();
    t.not(first, 'succeeded');
    t.not(first, 'requires_action');
    t.deepEqual(others, ['succeeded']);
    // Too late: nothing comes through the old page any more.
    await world.paymentSystem.confirm(viewer.actionUrl).catch(() => undefined);
    await world.advance({ hours: 2 });
    t.deepEqual((await viewer.charges()).filter((status) => status === 'succeeded').length, 1);
  },
);
