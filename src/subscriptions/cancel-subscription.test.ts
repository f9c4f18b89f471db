import { randomUUID } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import { SubscriptionEventKind, SubscriptionStatus } from '@cinema-billing/gen/billing/v1/subscription_pb.ts';
import { CancelEffective } from '@cinema-billing/gen/billing/v1/subscription_service_pb.ts';
import { RpcError } from '../cli/grpc-client.ts';
import { startWorld, type World } from '../testing/world.ts';
import { waitUntil } from '../testing/wait-until.ts';

let world: World;
test.before(async () => {
  world = await startWorld();
});
test.after.always(() => world?.stop());

async function refused(t: ExecutionContext, call: Promise<unknown>): Promise<[code: string, reason: string]> {
  const error = await t.throwsAsync(call, { instanceOf: RpcError });
  return [error!.code, error!.reason];
}

async function authHas(userId: string, version: number): Promise<{ features: readonly string[]; until: string[] }> {
  const rights = await waitUntil(`Auth has version ${version}`, async () => {
    const user = await world.auth.user(userId);
    return user.version === version && user;
  });
  return { features: rights.features, until: rights.grants.map(({ access_until }) => access_until) };
}

test.serial('cancelling at the end keeps access to the last second and takes no more money', async (t) => {
  const { userId, subscriptionId, token } = await world.subscriber();
  const { subscriptions } = world.clients();
  const { subscription } = await subscriptions.cancelSubscription(
    { requestId: randomUUID(), subscriptionId, reason: 'too dear' },
    { token },
  );
  t.is(subscription!.status, SubscriptionStatus.ACTIVE);
  t.true(subscription!.cancelAtPeriodEnd);
  t.is(subscription!.nextChargeAt, undefined);
  const [before] = await world.query(`select current_period_end::text as at from subscription where id = $1`, [
    subscriptionId,
  ]);
  const has = await authHas(userId, 2);
  t.deepEqual(has.features, ['catalog.base']);
  t.deepEqual(has.until, [new Date(before!['at'] as string).toISOString()]);

  await world.advance({ days: 32 });
  const ended = await subscriptions.getSubscription({ subscriptionId }, { token });
  t.is(ended.subscription!.status, SubscriptionStatus.CANCELED);
  t.is(ended.subscription!.endedAt!.seconds, subscription!.currentPeriodEnd!.seconds);
  t.deepEqual((await authHas(userId, 3)).features, []);
  const charges = (await world.paymentSystem.payments()).filter((payment) => payment.customer_reference === userId);
  t.is(charges.length, 1);

  const { events } = await subscriptions.listSubscriptionEvents({ subscriptionId }, { token });
  t.deepEqual(
    events.map(({ kind, reason }) => [kind, reason]),
    [
      [SubscriptionEventKind.CANCELED, 'PERIOD_ENDED'],
      [SubscriptionEventKind.CANCELLATION_SCHEDULED, 'too dear'],
      [SubscriptionEventKind.ACTIVATED, 'PAYMENT_SUCCEEDED'],
      [SubscriptionEventKind.SUBSCRIBED, 'SUBSCRIBED'],
    ],
  );
});

test.serial('an undone cancellation renews as if it had never been', async (t) => {
  const { userId, subscriptionId, token } = await world.subscriber();
  const { subscriptions } = world.clients();
  await subscriptions.cancelSubscription({ requestId: randomUUID(), subscriptionId }, { token });
  const resumed = await subscriptions.resumeSubscription({ requestId: randomUUID(), subscriptionId }, { token });
  t.false(resumed.subscription!.cancelAtPeriodEnd);
  t.is(resumed.subscription!.nextChargeAt!.seconds, resumed.subscription!.currentPeriodEnd!.seconds);
  await world.advance({ days: 32 });
  const charges = (await world.paymentSystem.payments()).filter((payment) => payment.customer_reference === userId);
  t.deepEqual(
    charges.map(({ status }) => status),
    ['succeeded', 'succeeded'],
  );
});

test.serial('cancelling now takes the rights at once and revokes the token', async (t) => {
  const { userId, subscriptionId } = await world.subscriber();
  await authHas(userId, 1);
  const token = await world.auth.token({ sub: userId });
  t.true((await world.auth.check(token)).active);
  const { subscriptions } = world.clients();
  const request = { requestId: randomUUID(), subscriptionId, effective: CancelEffective.NOW };
  const { subscription } = await subscriptions.cancelSubscription(request, { token });
  t.is(subscription!.status, SubscriptionStatus.CANCELED);
  t.deepEqual((await authHas(userId, 2)).features, []);
  t.false((await world.auth.check(token)).active);
});

test.serial('a repeat of a cancellation gets the first answer and has one effect', async (t) => {
  const { userId, subscriptionId, token } = await world.subscriber();
  const { subscriptions } = world.clients();
  const request = { requestId: randomUUID(), subscriptionId };
  const answers = await Promise.all(
    Array.from({ length: 10 }, () => subscriptions.cancelSubscription(request, { token })),
  );
  for (const answer of answers) t.deepEqual(answer, answers[0]);
  const rows = await world.query(
    `select count(*)::int as n from subscription_event where user_id = $1 and kind = 'CANCELLATION_SCHEDULED'`,
    [userId],
  );
  t.is(rows[0]!['n'], 1);
});

test.serial('what the state table does not list is refused with ILLEGAL_TRANSITION and changes nothing', async (t) => {
  const { subscriptionId, token } = await world.subscriber();
  const { subscriptions } = world.clients();
  const resume = () => subscriptions.resumeSubscription({ requestId: randomUUID(), subscriptionId }, { token });
  const cancel = (effective: CancelEffective) =>
    subscriptions.cancelSubscription({ requestId: randomUUID(), subscriptionId, effective }, { token });
  const illegal: [string, string] = ['FAILED_PRECONDITION', 'ILLEGAL_TRANSITION'];
  t.deepEqual(await refused(t, resume()), illegal);
  await cancel(CancelEffective.AT_PERIOD_END);
  t.deepEqual(await refused(t, cancel(CancelEffective.AT_PERIOD_END)), illegal);
  await cancel(CancelEffective.NOW);
  const before = await world.query(`select * from subscription where id = $1`, [subscriptionId]);
  t.deepEqual(await refused(t, cancel(CancelEffective.NOW)), illegal);
  t.deepEqual(await refused(t, cancel(CancelEffective.AT_PERIOD_END)), illegal);
  t.deepEqual(await refused(t, resume()), illegal);
  t.deepEqual(await world.query(`select * from subscription where id = $1`, [subscriptionId]), before);
});

test.serial('an unpaid subscription ends at once and its page takes no more money', async (t) => {
  const userId = randomUUID();
  const token = await world.auth.token({ sub: userId });
  const { subscriptions } = world.clients();
  const { subscription, checkout } = await subscriptions.subscribe(
    { requestId: randomUUID(), priceId: world.prices.basic },
    { token },
  );
  const canceled = await subscriptions.cancelSubscription(
    { requestId: randomUUID(), subscriptionId: subscription!.id },
    { token },
  );
  t.is(canceled.subscription!.status, SubscriptionStatus.INCOMPLETE_EXPIRED);
  await world.paymentSystem.pay(checkout!.url);
  const payment = (await world.paymentSystem.payments()).find(({ page_url }) => page_url === checkout!.url);
  t.is(payment!.status, 'expired');
});

test.serial("another viewer's subscription looks exactly like a missing one", async (t) => {
  const { subscriptionId } = await world.subscriber();
  const token = await world.auth.token({ sub: randomUUID() });
  const { subscriptions } = world.clients();
  const texts: string[] = [];
  for (const id of [subscriptionId, randomUUID()]) {
    for (const call of [
      subscriptions.getSubscription({ subscriptionId: id }, { token }),
      subscriptions.cancelSubscription({ requestId: randomUUID(), subscriptionId: id }, { token }),
      subscriptions.resumeSubscription({ requestId: randomUUID(), subscriptionId: id }, { token }),
      subscriptions.listSubscriptionEvents({ subscriptionId: id }, { token }),
    ]) {
      const error = await t.throwsAsync(call, { instanceOf: RpcError });
      t.deepEqual([error!.code, error!.reason], ['NOT_FOUND', 'SUBSCRIPTION_NOT_FOUND']);
      texts.push(error!.message.replace(/^\w+/, ''));
    }
  }
  t.is(new Set(texts).size, 1);
});

test.serial('ending an unpaid subscription is repeated after a crash, and only by the same call', async (t) => {
  const token = await world.auth.token({ sub: randomUUID() });
  const { subscriptions } = world.clients();
  const { subscription } = await subscriptions.subscribe(
    { requestId: randomUUID(), priceId: world.prices.basic },
    { token },
  );
  const asked = { requestId: randomUUID(), subscriptionId: subscription!.id, reason: 'changed my mind' };
  const first = await subscriptions.cancelSubscription(asked, { token });
  t.is(first.subscription!.status, SubscriptionStatus.INCOMPLETE_EXPIRED);
  // As if the process had died between the end of the page and the answer.
  await world.query(
    `update idempotent_request set response = null, lease_until = clock_timestamp() where request_id = $1`,
    [asked.requestId],
  );
  const repeated = await subscriptions.cancelSubscription(asked, { token });
  t.is(repeated.subscription!.status, SubscriptionStatus.INCOMPLETE_EXPIRED);
  t.deepEqual(await refused(t, subscriptions.cancelSubscription({ ...asked, requestId: randomUUID() }, { token })), [
    'FAILED_PRECONDITION',
    'ILLEGAL_TRANSITION',
  ]);
});

test.serial('a request id of another call does not end an unpaid subscription', async (t) => {
  const userId = randomUUID();
  const token = await world.auth.token({ sub: userId });
  const { subscriptions } = world.clients();
  const { subscription } = await subscriptions.subscribe(
    { requestId: randomUUID(), priceId: world.prices.basic },
    { token },
  );
  const requestId = randomUUID();
  await world.query(
    `insert into idempotent_request (caller, method, request_id, request_hash, lease_until)
     values ('customer:' || $1, 'CancelSubscription', $2, 'of something else', clock_timestamp())`,
    [userId, requestId],
  );
  const call = subscriptions.cancelSubscription({ requestId, subscriptionId: subscription!.id }, { token });
  t.deepEqual(await refused(t, call), ['INVALID_ARGUMENT', 'REQUEST_ID_REUSED']);
  const [row] = await world.query(`select status from subscription where id = $1`, [subscription!.id]);
  t.is(row!['status'], 'INCOMPLETE');
});
