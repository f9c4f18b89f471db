import { randomUUID } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import { CancelEffective } from '@cinema-billing/gen/billing/v1/subscription_service_pb.ts';
import { openDomain } from '../testing/domain.ts';
import { startWorld } from '../testing/world.ts';
import { waitUntil } from '../testing/wait-until.ts';
import { NotExecuted, OutcomeUnknown, type PaymentProvider } from './provider.ts';
import { sendRefunds } from './send-refunds.ts';

const neverAnswers = '4000000000009987';

test('money that comes after a cancellation goes back once, all of it, whoever tells of it and however often', async (t) => {
  const world = await startWorld();
  try {
    const { userId, subscriptionId, token } = await world.subscriber(neverAnswers);
    const renewal = async () =>
      (await world.paymentSystem.payments()).find(
        (payment) => payment.customer_reference === userId && payment.kind === 'off_session',
      );
    // The charge is made and nobody is told; before anybody can know, the viewer leaves.
    world.webhooks.open = false;
    await world.query(`update sandbox_clock set set_to = (select max(next_charge_at) from subscription)`);
    await waitUntil('the ledger has the charge', renewal);
    const { subscriptions } = world.clients();
    const request = { requestId: randomUUID(), subscriptionId, effective: CancelEffective.NOW };
    await subscriptions.cancelSubscription(request, { token });
    world.webhooks.open = true;
    await world.advance({ hours: 2 });

    t.is((await renewal())!.refunded_minor, '29900');
    const refunds = await world.query(
      `select r.state, r.amount_minor, r.currency_code, a.surplus from refund r join payment_attempt a on a.id = r.attempt_id`,
    );
    t.deepEqual(refunds, [{ state: 'SUCCEEDED', amount_minor: '29900', currency_code: 'RUB', surplus: true }]);
    const [subscription] = await world.query(`select status, cycle from subscription where id = $1`, [subscriptionId]);
    t.deepEqual(subscription, { status: 'CANCELED', cycle: 0 });
    await world.advance({ days: 3 });
    t.is((await renewal())!.refunded_minor, '29900');
    t.is((await world.query(`select 1 from refund`)).length, 1);
  } finally {
    await world.stop();
  }
});

test('a refund whose answer was lost is looked for before it is sent again, and the money goes back once', async (t) => {
  const world = await startWorld();
  const domain = await openDomain(world);
  try {
    const { userId } = await world.subscriber();
    await world.service.stop();
    const [attempt] = await world.query(
      `select a.id, a.provider_payment_id from payment_attempt a join payment on payment.id = payment_id where user_id = $1`,
      [userId],
    );
    await world.query(
      `insert into refund (id, attempt_id, reason, provider, merchant_account, provider_payment_id, amount_minor,
         currency_code, idempotency_key, state, next_try_at, lease_until, created_at)
       values ($1, $2, 'SURPLUS', 'sandbox', 'sandbox-cinema', $3, 29900, 'RUB', $4, 'PENDING', business_now(), now(),
         business_now())`,
      [randomUUID(), attempt!['id'], attempt!['provider_payment_id'], `rfd_${randomUUID()}`],
    );
    const real = domain.ctx.providers.get('sandbox')!;
    const losesAnswers: PaymentProvider = {
      ...real,
      refund: async (request) => {
        await real.refund(request);
        throw new OutcomeUnknown('the answer was lost');
      },
    };
    await sendRefunds({ ...domain.ctx, providers: new Map([['sandbox', losesAnswers]]) });
    const stateOf = async () => (await world.query(`select state, tries from refund`))[0];
    t.deepEqual(await stateOf(), { state: 'PENDING', tries: 1 });
    // Its time has come again and its lease is over.
    await world.query(`update refund set next_try_at = business_now(), lease_until = now()`);
    await sendRefunds(domain.ctx);
    t.deepEqual(await stateOf(), { state: 'SUCCEEDED', tries: 2 });
    const payment = (await world.paymentSystem.payments()).find((one) => one.customer_reference === userId);
    t.is(payment!.refunded_minor, '29900');
  } finally {
    await domain.stop();
    await world.stop();
  }
});

/** A paid viewer, and a refund of all of it that nobody has sent; the service is stopped. */
async function plantRefund(t: ExecutionContext) {
  const world = await startWorld();
  const domain = await openDomain(world);
  t.teardown(async () => {
    await domain.stop();
    await world.stop();
  });
  const { userId } = await world.subscriber();
  await world.service.stop();
  await world.query(
    `insert into refund (id, attempt_id, reason, provider, merchant_account, provider_payment_id, amount_minor,
       currency_code, idempotency_key, state, next_try_at, lease_until, created_at)
     select $1::uuid, a.id, 'REQUESTED', a.provider, a.merchant_account, a.provider_payment_id, 29900, 'RUB',
       'rfd_' || $1, 'PENDING', business_now(), now(), business_now()
     from payment_attempt a join payment on payment.id = payment_id where user_id = $2`,
    [randomUUID(), userId],
  );
  const real = domain.ctx.providers.get('sandbox')!;
  return {
    real,
    /** A round in which the provider's refunds go like this; hours later by the business clock, leases over. */
    async round(hours: number, refund: PaymentProvider['refund'] = real.refund) {
      await world.query(`update sandbox_clock set set_to = set_to + $1 * interval '1 hour'`, [hours]);
      await world.query(`update refund set lease_until = now()`);
      await sendRefunds({ ...domain.ctx, providers: new Map([['sandbox', { ...real, refund }]]) });
    },
    async seen() {
      const [row] = await world.query(`select state, substr(idempotency_key, 41) as key from refund`);
      const payment = (await world.paymentSystem.payments()).find((one) => one.customer_reference === userId);
      return [row!['state'], row!['key'], payment!.refunded_minor];
    },
  };
}

const away = () => Promise.reject(new NotExecuted('the connection was refused'));
const lost = () => Promise.reject(new OutcomeUnknown('the answer was lost'));

test('money goes back once the provider is there again, however many days it was away', async (t) => {
  const { round, seen } = await plantRefund(t);
  for (let day = 0; day < 5; day++) await round(24, away);
  t.deepEqual(await seen(), ['PENDING', '', '0']);
  await round(1);
  t.deepEqual(await seen(), ['SUCCEEDED', '', '29900']);
});

test('a refund that never arrived is sent under a new key when two look-ups have not found it', async (t) => {
  const { round, seen } = await plantRefund(t);
  await round(0, lost);
  await round(25);
  t.deepEqual(await seen(), ['PENDING', '', '0']);
  await round(0.1);
  t.deepEqual(await seen(), ['PENDING', '', '0']);
  await round(0.2);
  t.deepEqual(await seen(), ['PENDING', '_2', '0']);
  await round(0);
  t.deepEqual(await seen(), ['SUCCEEDED', '_2', '29900']);
});

test('a refund that turns up between the two look-ups is not sent again', async (t) => {
  const { real, round, seen } = await plantRefund(t);
  let late: Parameters<PaymentProvider['refund']>[0] | undefined;
  await round(0, (request) => {
    late = request;
    return lost();
  });
  await round(25);
  await real.refund(late!);
  await round(0.3);
  t.deepEqual(await seen(), ['SUCCEEDED', '', '29900']);
});
