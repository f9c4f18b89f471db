import { randomUUID } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import { BillingError } from '../lib/billing-error.ts';
import { refundPayment } from '../payments/refund-payment.ts';
import { openDomain, type Domain } from '../testing/domain.ts';
import { waitUntil } from '../testing/wait-until.ts';
import { startWorld, type World } from '../testing/world.ts';
import { cancelSubscription, previewCancellation } from './cancel-subscription.ts';
import { detachPaymentMethod } from './detach-payment-method.ts';
import { extendPeriod } from './extend-period.ts';
import { grantSubscription } from './grant-subscription.ts';
import { retryPayment } from './retry-payment.ts';

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

const softLater = '4000000000000341';
const hardLater = '4000000000009979';
const id = () => ({ requestId: randomUUID() });

async function reasonOf(t: ExecutionContext, call: Promise<unknown>): Promise<string> {
  const error = await t.throwsAsync(call, { instanceOf: BillingError });
  return error!.reason;
}

async function row(text: string, ...values: unknown[]): Promise<Record<string, unknown>> {
  return (await world.query(text, values))[0]!;
}

/** Business time, so that spans can be written down: 15 January 2027, 09:00, wherever the file stands. */
async function now(): Promise<Temporal.Instant> {
  return Temporal.Instant.from(String((await row(`select business_now()::text as at`))['at']).replace(' ', 'T'));
}

async function paymentsOf(userId: string) {
  return (await world.paymentSystem.payments()).filter((payment) => payment.customer_reference === userId);
}

async function authSees(userId: string, version: number): Promise<{ features: readonly string[]; until: string[] }> {
  domain.ctx.wake('relay');
  const rights = await waitUntil(`Auth has version ${version}`, async () => {
    const user = await world.auth.user(userId);
    return user.version === version && user;
  });
  return { features: rights.features, until: rights.grants.map(({ access_until }) => access_until) };
}

test.serial('a gift gives access to its end, costs nothing, and ends without dunning', async (t) => {
  const userId = randomUUID();
  const at = await now();
  const input = { ...id(), userId, priceId: world.prices.premium, days: 10, reason: 'the stream broke' };
  const given = await grantSubscription(domain.ctx, input);
  t.is((await grantSubscription(domain.ctx, input)).id, given.id);
  const end = at.add({ hours: 240 }).toString({ fractionalSecondDigits: 3 });
  t.deepEqual(await authSees(userId, 1), {
    features: ['catalog.base', 'catalog.premieres', 'video.uhd'],
    until: [end],
  });
  await world.advance({ days: 11 });
  t.deepEqual((await authSees(userId, 2)).features, []);
  t.like(await row(`select status, ended_at = $2 as in_time from subscription where id = $1`, given.id, end), {
    status: 'CANCELED',
    in_time: true,
  });
  t.is((await paymentsOf(userId)).length, 0);
  const lines = await world.query(
    `select kind, reason from subscription_event where subscription_id = $1 order by occurred_at, id`,
    [given.id],
  );
  t.deepEqual(lines, [
    { kind: 'GIVEN', reason: 'the stream broke' },
    { kind: 'CANCELED', reason: 'PERIOD_ENDED' },
  ]);
});

test.serial('time that is given to a paying viewer moves the end, the next charge and all later periods', async (t) => {
  const { userId, subscriptionId } = await world.subscriber();
  const before = await row(`select current_period_end::text as at from subscription where id = $1`, subscriptionId);
  const input = { ...id(), userId, priceId: world.prices.basic, days: 5, reason: 'sorry' };
  t.is((await grantSubscription(domain.ctx, input)).id, subscriptionId);
  await extendPeriod(domain.ctx, { ...id(), subscriptionId, days: 2, reason: 'sorry again' });
  const after = await row(
    `select current_period_end = $2::timestamptz + interval '7 days' as later, next_charge_at = current_period_end as due,
       anchor_at = current_period_end as anchored from subscription where id = $1`,
    subscriptionId,
    before['at'],
  );
  t.deepEqual(after, { later: true, due: true, anchored: true });
  await world.advance({ days: 33 });
  t.is((await paymentsOf(userId)).length, 1);
  await world.advance({ days: 6 });
  t.is((await paymentsOf(userId)).length, 2);
  const renewed = await row(
    `select current_period_start = anchor_at as from_there, cycle from subscription where id = $1`,
    subscriptionId,
  );
  t.deepEqual(renewed, { from_there: true, cycle: 1 });
});

test.serial(
  'a cancellation gives back what its preview said, of what was paid and has not gone back yet',
  async (t) => {
    const { userId, subscriptionId } = await world.subscriber();
    const payment = await row(`select id from payment where subscription_id = $1`, subscriptionId);
    const paymentId = payment['id'] as string;
    await refundPayment(domain.ctx, { ...id(), paymentId, amountMinor: 9_900n, reason: 'asked' });
    await world.query(
      `update subscription set current_period_start = business_now() - interval '10 days',
       current_period_end = business_now() + interval '20 days' where id = $1`,
      [subscriptionId],
    );
    const asked = { subscriptionId, effective: 'now', reason: 'moved away', refund: 'prorated' } as const;
    const preview = await previewCancellation(domain.ctx, asked);
    // 299.00 less 99.00 that went back already, for 20 of 30 days.
    t.deepEqual(preview.refund, { currencyCode: 'RUB', amountMinor: 13_333n });
    t.is((await row(`select status from subscription where id = $1`, subscriptionId))['status'], 'ACTIVE');
    const done = await cancelSubscription(domain.ctx, { ...id(), ...asked });
    t.deepEqual(done.refund, preview.refund);
    await world.advance({ hours: 1 });
    t.deepEqual(
      (await paymentsOf(userId)).map(({ refunded_minor }) => refunded_minor),
      ['23233'],
    );
  },
);

test.serial('a viewer gets back what the policy of the plan says', async (t) => {
  for (const [policy, back] of [
    ['none', undefined],
    ['prorated', 29_900n],
  ] as const) {
    const { subscriptionId, userId } = await world.subscriber();
    await world.query(`update plan set refund_policy = $1 where code = 'basic'`, [policy]);
    const ctx = { ...domain.ctx, actor: { kind: 'customer', id: userId } as const };
    const input = { ...id(), subscriptionId, effective: 'now', reason: '', refund: 'policy' } as const;
    // At the very instant of the payment, all of the period is unused.
    t.is((await cancelSubscription(ctx, input)).refund?.amountMinor, back);
  }
});

test.serial('no more goes back than was paid, whoever asks at the same time', async (t) => {
  const { subscriptionId, userId } = await world.subscriber();
  const paymentId = (await row(`select id from payment where subscription_id = $1`, subscriptionId))['id'] as string;
  const refund = () => refundPayment(domain.ctx, { ...id(), paymentId, amountMinor: 10_000n, reason: 'asked' });
  const settled = await Promise.allSettled(Array.from({ length: 8 }, refund));
  t.is(settled.filter(({ status }) => status === 'fulfilled').length, 2);
  for (const result of settled) {
    if (result.status === 'rejected') t.is((result.reason as BillingError).reason, 'REFUND_TOO_LARGE');
  }
  t.is(
    (await refundPayment(domain.ctx, { ...id(), paymentId, amountMinor: undefined, reason: 'asked' })).amount
      .amountMinor,
    9_900n,
  );
  t.is(await reasonOf(t, refund()), 'NOTHING_TO_REFUND');
  t.is(
    await reasonOf(
      t,
      refundPayment(domain.ctx, { ...id(), paymentId: randomUUID(), amountMinor: 1n, reason: 'asked' }),
    ),
    'PAYMENT_NOT_FOUND',
  );
  await world.advance({ hours: 1 });
  t.is((await paymentsOf(userId))[0]!.refunded_minor, '29900');
  t.is((await row(`select status from subscription where id = $1`, subscriptionId))['status'], 'ACTIVE');
});

test.serial('a removed method is not charged any more: access to the end, then nothing', async (t) => {
  const { userId, subscriptionId } = await world.subscriber();
  const method = await row(`select payment_method_id as id from subscription where id = $1`, subscriptionId);
  const paymentMethodId = method['id'] as string;
  const stranger = { ...domain.ctx, actor: { kind: 'customer', id: randomUUID() } as const };
  t.is(
    await reasonOf(t, detachPaymentMethod(stranger, { ...id(), paymentMethodId, reason: '' })),
    'PAYMENT_METHOD_NOT_FOUND',
  );
  const owner = { ...domain.ctx, actor: { kind: 'customer', id: userId } as const };
  const { endingSubscriptionIds } = await detachPaymentMethod(owner, { ...id(), paymentMethodId, reason: '' });
  t.deepEqual(endingSubscriptionIds, [subscriptionId]);
  const end = await row(`select current_period_end as at from subscription where id = $1`, subscriptionId);
  t.deepEqual((await authSees(userId, 2)).until, [(end['at'] as Date).toISOString()]);
  // The payment system knows it too: whoever charged it there would be refused.
  const known = await row(
    `select provider_customer_id as customer, provider_method_id as method from payment_method where id = $1`,
    paymentMethodId,
  );
  const [provider] = [...domain.ctx.providers.values()];
  await world.advance({ hours: 1 });
  const outcome = await provider!.charge({
    idempotencyKey: randomUUID(),
    reference: randomUUID(),
    amount: { currencyCode: 'RUB', amountMinor: 100n },
    providerCustomerId: known['customer'] as string,
    providerMethodId: known['method'] as string,
    description: 'must not be',
  });
  t.like(outcome, { kind: 'declined', hard: true });
  await world.advance({ days: 32 });
  t.is((await row(`select status from subscription where id = $1`, subscriptionId))['status'], 'CANCELED');
  t.is((await paymentsOf(userId)).filter(({ status }) => status === 'succeeded').length, 1);
});

test.serial(
  'removing the method of a subscription that owes money voids its retries and keeps its deadlines',
  async (t) => {
    const { userId, subscriptionId } = await world.subscriber(softLater);
    await world.advance({ days: 32 });
    const before = await row(
      `select status, payment_method_id as method, grace_until as grace, dunning_ends_at as over from subscription where id = $1`,
      subscriptionId,
    );
    t.is(before['status'], 'PAST_DUE');
    await detachPaymentMethod(domain.ctx, {
      ...id(),
      paymentMethodId: before['method'] as string,
      reason: 'lost card',
    });
    const after = await row(
      `select status, next_charge_at as due, grace_until as grace, dunning_ends_at as over from subscription where id = $1`,
      subscriptionId,
    );
    t.deepEqual(after, { status: 'PAST_DUE', due: null, grace: before['grace'], over: before['over'] });
    t.is(
      await reasonOf(t, retryPayment(domain.ctx, { ...id(), subscriptionId, reason: '' })),
      'PAYMENT_METHOD_REQUIRED',
    );
    const tries = (await paymentsOf(userId)).length;
    await world.advance({ days: 20 });
    t.is((await paymentsOf(userId)).length, tries);
    t.is((await row(`select status from subscription where id = $1`, subscriptionId))['status'], 'CANCELED');
  },
);

test.serial(
  'a retry on request comes at once and moves no deadline; never on a method that was declined for good',
  async (t) => {
    const soft = await world.subscriber(softLater);
    const hard = await world.subscriber(hardLater);
    t.is(
      await reasonOf(t, retryPayment(domain.ctx, { ...id(), subscriptionId: soft.subscriptionId, reason: '' })),
      'ILLEGAL_TRANSITION',
    );
    await world.advance({ days: 31 });
    const deadlines = () =>
      row(`select grace_until as grace, dunning_ends_at as over from subscription where id = $1`, soft.subscriptionId);
    const before = await deadlines();
    const tries = (await paymentsOf(soft.userId)).length;
    await retryPayment(domain.ctx, { ...id(), subscriptionId: soft.subscriptionId, reason: 'called us' });
    await world.advance({ hours: 0 });
    t.is((await paymentsOf(soft.userId)).length, tries + 1);
    t.deepEqual(await deadlines(), before);
    t.is(
      await reasonOf(t, retryPayment(domain.ctx, { ...id(), subscriptionId: hard.subscriptionId, reason: '' })),
      'PAYMENT_METHOD_DECLINED',
    );
  },
);
