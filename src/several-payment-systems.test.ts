import { randomUUID } from 'node:crypto';
import { PaymentMethodService } from '@cinema-billing/gen/billing/v1/payment_method_service_pb.ts';
import test from 'ava';
import { pino } from 'pino';
import { createApp } from './app.ts';
import { ConfigError, readConfig } from './config/config.ts';
import { grpcClient, RpcError } from './cli/grpc-client.ts';
import { reconcile } from './ledger/reconcile.ts';
import { attemptsOf, sendNotice, startBoth, takeOut } from './testing/both-payment-systems.ts';
import { openDomain } from './testing/domain.ts';
import { waitUntil } from './testing/wait-until.ts';

const day = 86_400_000;

test.serial('two payment systems at once: each payment, renewal, refund and notice stays with its own', async (t) => {
  const { world, stripe, yookassa, euros, at } = await startBoth(t);
  const rub = await takeOut(world, world.prices.basic, yookassa);
  const eur = await takeOut(world, euros, stripe);
  t.like((await attemptsOf(world, rub, 'initial'))[0], { provider: 'yookassa', account: '100500' });
  t.like((await attemptsOf(world, eur, 'initial'))[0], { provider: 'stripe', account: 'acct_double' });

  const misdirected = await sendNotice(world, 'stripe', yookassa.subject.noticeOf(rub));
  t.is(misdirected.status, 400, 'a notice on the path of another one is not authentic');
  t.is((await sendNotice(world, 'sandbox', stripe.subject.noticeOf(eur))).status, 404);

  await world.query(`update sandbox_clock set set_to = set_to + interval '32 days'`);
  const renewals = await waitUntil('both months are renewed', async () => {
    const rows = [...(await attemptsOf(world, rub, 'cycle:%')), ...(await attemptsOf(world, eur, 'cycle:%'))];
    return rows.length === 2 && rows.every(({ state }) => state === 'SUCCEEDED') ? rows : undefined;
  });
  const [ofRub, ofEur] = renewals.map(({ id }) => String(id)) as [string, string];
  t.deepEqual(await yookassa.subject.bookOf(ofRub), { chargeCount: 1, takenMinor: 29_900n, returnedMinor: 0n });
  t.deepEqual(await stripe.subject.bookOf(ofEur), { chargeCount: 1, takenMinor: 499n, returnedMinor: 0n });
  t.deepEqual(await stripe.subject.bookOf(ofRub), { chargeCount: 0, takenMinor: 0n, returnedMinor: 0n });
  t.deepEqual(await yookassa.subject.bookOf(ofEur), { chargeCount: 0, takenMinor: 0n, returnedMinor: 0n });

  const { paymentAdmin } = world.clients();
  const admin = { token: await world.auth.token({ sub: 'olga', role: 'admin' }) };
  for (const attemptId of [ofRub, ofEur]) {
    const [row] = await world.query(`select payment_id from payment_attempt where id = $1`, [attemptId]);
    const paymentId = String(row!['payment_id']);
    await paymentAdmin.refundPayment({ requestId: randomUUID(), paymentId, reason: 'asked' }, admin);
  }
  await waitUntil('both refunds are made', async () => {
    const rows = await world.query(`select state from refund`);
    return rows.length === 2 && rows.every(({ state }) => state === 'SUCCEEDED');
  });
  t.is((await yookassa.subject.bookOf(ofRub)).returnedMinor, 29_900n);
  t.is((await stripe.subject.bookOf(ofEur)).returnedMinor, 499n);
  paymentAdmin.close();

  const domain = await openDomain(world);
  t.teardown(() => domain.stop());
  const window = { from: at.subtract({ milliseconds: day }), to: at.add({ milliseconds: 40 * day }) };
  for (const { subject } of [stripe, yookassa]) {
    const report = await reconcile(domain.ctx, { provider: subject.build(), ...window });
    t.deepEqual([report.list, report.examined.succeeded, report.examined.charges], [[], 2, 2]);
  }
});

test.serial(
  'another card is saved where the present one is, and a removed one is told to its own payment system',
  async (t) => {
    const { world, stripe, yookassa, euros } = await startBoth(t);
    const eur = await takeOut(world, euros, stripe);
    const rub = await takeOut(world, world.prices.basic, yookassa);
    const methods = grpcClient(PaymentMethodService, world.service.grpcAddress);
    for (const [viewer, origin] of [
      [eur, stripe.double.url],
      [rub, yookassa.double.url.replace('/v3', '')],
    ] as const) {
      const { token, subscriptionId } = viewer;
      const { checkout } = await methods.startPaymentMethodSetup(
        { requestId: randomUUID(), subscriptionId },
        { token },
      );
      t.is(new URL(checkout!.url).origin, origin);
      const { paymentMethods } = await methods.listPaymentMethods({}, { token });
      const paymentMethodId = paymentMethods[0]!.id;
      await methods.detachPaymentMethod({ requestId: randomUUID(), paymentMethodId }, { token });
    }
    await waitUntil('both are told', async () => {
      const rows = await world.query(`select 1 from payment_method where next_detach_at is not null`);
      return rows.length === 0;
    });
    t.is(stripe.double.calls.filter(({ call }) => /payment_methods\/.*\/detach$/.test(call)).length, 1);
    methods.close();
  },
);

test.serial('a saved method whose payment system is not configured waits, and nothing is sent elsewhere', async (t) => {
  const { world, stripe, yookassa, euros } = await startBoth(t);
  const eur = await takeOut(world, euros, stripe);
  await world.service.stop();
  const before = { stripe: stripe.double.calls.length, yookassa: yookassa.double.calls.length };
  world.service = await world.startReplica({ PAYMENT_PROVIDER: 'yookassa', PAYMENT_PROVIDER_BY_CURRENCY: '' });
  t.true(world.service.log.some((line) => line.includes('not configured') && line.includes('acct_double')));
  await world.query(`update sandbox_clock set set_to = set_to + interval '32 days'`);
  const wasRefused = () => world.service.log.some((line) => line.includes('"outcome":"refused"'));
  await waitUntil('the renewal is refused', async () => wasRefused() || undefined);
  const attempts = await waitUntil('the charge waits to be sent', async () => {
    const rows = await attemptsOf(world, eur, 'cycle:%');
    return rows.some(({ state }) => state === 'PENDING') ? rows : undefined;
  });
  t.deepEqual(
    attempts.map(({ state, provider }) => [state, provider]),
    [['PENDING', 'stripe']],
  );
  t.deepEqual({ stripe: stripe.double.calls.length, yookassa: yookassa.double.calls.length }, before);

  const { subscriptions } = world.clients();
  const token = await world.auth.token({ sub: randomUUID() });
  const asked = subscriptions.subscribe({ requestId: randomUUID(), priceId: euros }, { token });
  const error = await t.throwsAsync(asked, { instanceOf: RpcError });
  t.is(`${error!.code} ${error!.reason}`, 'FAILED_PRECONDITION CURRENCY_NOT_TAKEN');
  subscriptions.close();

  await world.service.stop();
  world.service = await world.startReplica();
  await world.query(`update sandbox_clock set set_to = set_to + interval '2 hours'`);
  await waitUntil('it is charged once its payment system is back', async () => {
    const rows = await attemptsOf(world, eur, 'cycle:%');
    return rows.length === 1 && rows[0]!['state'] === 'SUCCEEDED';
  });
});

test('a currency that its payment system does not take is refused at the start', async (t) => {
  const env = {
    BILLING_DATABASE_URL: 'postgresql://nobody@127.0.0.1:1/none',
    BILLING_NATS_URL: 'nats://127.0.0.1:1',
    BILLING_AUTH_PUBLIC_KEY: '-----BEGIN PUBLIC KEY-----',
    BILLING_AUTH_ISSUER: 'a',
    BILLING_AUTH_AUDIENCE: 'b',
    BILLING_SECRET: 'c',
    PAYMENT_PROVIDER: 'yookassa',
    PAYMENT_PROVIDER_BY_CURRENCY: 'EUR:yookassa',
    YOOKASSA_SHOP_ID: '1',
    YOOKASSA_SECRET_KEY: 'k',
    YOOKASSA_RETURN_URL: 'https://cinema.example/account',
  };
  const error = await t.throwsAsync(createApp(readConfig(env), pino({ level: 'silent' })), { instanceOf: ConfigError });
  t.deepEqual(error!.problems, ['PAYMENT_PROVIDER_BY_CURRENCY: yookassa does not take EUR']);
});
