import test from 'ava';
import { randomUUID } from 'node:crypto';
import { startPaymentSystem, type TestPaymentSystem } from '../../../testing/payment-system.ts';
import { waitUntil } from '../../../testing/wait-until.ts';
import { startWebhookReceiver, type WebhookReceiver } from '../../../testing/webhook-receiver.ts';
import { OutcomeUnknown, RequestRefused, WebhookRejected, type SavedMethod } from '../../provider.ts';
import { createSandboxProvider, type SandboxProvider } from './sandbox-provider.ts';

let receiver: WebhookReceiver;
let system: TestPaymentSystem;
let provider: SandboxProvider;

const providerWith = (options: { apiKey?: string; callDeadlineMs?: number; webhookSecret?: string } = {}) =>
  createSandboxProvider({
    baseUrl: system.url,
    apiKey: system.apiKey,
    webhookSecrets: [options.webhookSecret ?? system.webhookSecret],
    ...options,
  });

test.before(async () => {
  receiver = await startWebhookReceiver();
  system = await startPaymentSystem({ webhookUrl: receiver.url });
  provider = providerWith();
});

test.after.always(async () => {
  await system?.stop();
  await receiver?.close();
});

const roubles = (amountMinor: bigint) => ({ currencyCode: 'RUB', amountMinor });

const checkoutRequest = () => {
  const reference = randomUUID();
  return {
    idempotencyKey: `pay_${reference}_1`,
    reference,
    amount: roubles(59_900n),
    mode: 'payment' as const,
    customerReference: randomUUID(),
    description: 'Basic, monthly',
    returnUrl: 'https://cinema.example/done',
  };
};

/** A card that was saved by a paid checkout. */
async function saveCard(card?: string): Promise<SavedMethod> {
  const request = checkoutRequest();
  const page = await provider.startCheckout(request);
  await system.pay(page.url, card);
  const outcome = await provider.lookUp({ reference: request.reference });
  if (outcome?.kind !== 'succeeded' || !outcome.method) throw new Error(`not paid: ${outcome?.kind}`);
  return outcome.method;
}

const chargeRequest = ({ providerCustomerId, providerMethodId }: SavedMethod) => {
  const reference = randomUUID();
  return {
    idempotencyKey: `pay_${reference}_1`,
    reference,
    amount: roubles(29_900n),
    providerCustomerId,
    providerMethodId,
    description: 'Basic, February',
  };
};

const paymentsOf = async (reference: string) =>
  (await system.payments()).filter((payment) => payment.reference === reference);

test('a checkout waits until it is paid, and then tells the money and the saved card', async (t) => {
  const request = checkoutRequest();
  const { providerPaymentId, url, expiresAt } = await provider.startCheckout(request);
  t.is(new URL(url).origin, system.url);
  t.true(expiresAt.epochMilliseconds > Date.now());
  t.deepEqual(await provider.lookUp({ reference: request.reference }), { kind: 'waiting', providerPaymentId });

  await system.pay(url, '4242424242424242');
  const outcome = await provider.lookUp({ providerPaymentId, reference: request.reference });
  if (outcome?.kind !== 'succeeded') return t.fail(outcome?.kind);
  t.is(outcome.providerPaymentId, providerPaymentId);
  t.deepEqual(outcome.amount, roubles(59_900n));
  const { providerCustomerId, providerMethodId, fingerprint, ...card } = outcome.method!;
  t.deepEqual(card, { brand: 'visa', last4: '4242', expiryMonth: 12, expiryYear: 2049 });
  t.regex(fingerprint, /^[0-9a-f]{32}$/);
  t.true(providerCustomerId.startsWith('cus_') && providerMethodId.startsWith('pm_'));
});

test('the same key opens the same page and charges once, and other parameters under it are refused', async (t) => {
  const request = checkoutRequest();
  const page = await provider.startCheckout(request);
  const again = await provider.startCheckout(request);
  t.is(again.url, page.url);
  t.is(again.providerPaymentId, page.providerPaymentId);
  t.true(again.expiresAt.equals(page.expiresAt));
  await t.throwsAsync(provider.startCheckout({ ...request, amount: roubles(1n) }), { instanceOf: RequestRefused });

  const charge = chargeRequest(await saveCard());
  const outcome = await provider.charge(charge);
  t.is(outcome.kind, 'succeeded');
  t.deepEqual(await provider.charge(charge), outcome);
  t.is((await paymentsOf(charge.reference)).length, 1);
});

test('a closed page is dead, and one that was paid before keeps its money', async (t) => {
  const closed = await provider.startCheckout(checkoutRequest());
  const dead = { kind: 'dead' as const, providerPaymentId: closed.providerPaymentId };
  t.deepEqual(await provider.expireCheckout(closed.providerPaymentId), dead);
  t.deepEqual(await provider.expireCheckout(closed.providerPaymentId), dead, 'closed again');
  await system.pay(closed.url);
  const { reference } = (await system.payments()).find(({ id }) => id === closed.providerPaymentId)!;
  t.deepEqual(await provider.lookUp({ reference }), dead);

  const paid = await provider.startCheckout(checkoutRequest());
  await system.pay(paid.url);
  t.is((await provider.expireCheckout(paid.providerPaymentId)).kind, 'succeeded');
});

test('a decline is a value: soft or hard, with its code', async (t) => {
  const soft = await provider.charge(chargeRequest(await saveCard('4000000000000341')));
  t.like(soft, { kind: 'declined', declineCode: 'insufficient_funds', hard: false });
  const hard = await provider.charge(chargeRequest(await saveCard('4000000000009979')));
  t.like(hard, { kind: 'declined', declineCode: 'stolen_card', hard: true });
});

test('a charge that is taken and never answered is unknown, and a look-up finds it', async (t) => {
  const request = chargeRequest(await saveCard('4000000000009987'));
  await t.throwsAsync(providerWith({ callDeadlineMs: 300 }).charge(request), { instanceOf: OutcomeUnknown });
  t.is((await paymentsOf(request.reference)).length, 1);
  const outcome = await provider.lookUp({ reference: request.reference });
  t.like(outcome, { kind: 'succeeded', amount: roubles(29_900n) });
});

test('what the payment system does not have is undefined for a look-up, and refused otherwise', async (t) => {
  t.is(await provider.lookUp({ reference: randomUUID() }), undefined);
  t.is(await provider.lookUp({ providerPaymentId: 'pay_none', reference: randomUUID() }), undefined);
  await t.throwsAsync(provider.expireCheckout('pay_none'), { instanceOf: RequestRefused });
  const method = await saveCard();
  const charge = chargeRequest({ ...method, providerMethodId: 'pm_none' });
  await t.throwsAsync(provider.charge(charge), { instanceOf: RequestRefused });
});

test('a payment of another reference is not believed', async (t) => {
  const { providerPaymentId } = await provider.startCheckout(checkoutRequest());
  const lookUp = provider.lookUp({ providerPaymentId, reference: randomUUID() });
  await t.throwsAsync(lookUp, { instanceOf: OutcomeUnknown });
});

test('a wrong API key is refused, and nothing happens', async (t) => {
  const request = checkoutRequest();
  await t.throwsAsync(providerWith({ apiKey: 'wrong' }).startCheckout(request), { instanceOf: RequestRefused });
  t.deepEqual(await paymentsOf(request.reference), []);
});

test('a notice of the payment system is authentic, and names the payment', async (t) => {
  const request = checkoutRequest();
  const { providerPaymentId, url } = await provider.startCheckout(request);
  await system.pay(url);
  const { headers, body } = await waitUntil('the notice', () =>
    receiver.received.find((notice) => notice.body.includes(providerPaymentId)),
  );
  const notice = { raw: Buffer.from(body), headers: { 'sandbox-signature': String(headers['sandbox-signature']) } };
  t.is(provider.authenticateWebhook(notice), 'signed');
  const { type, payment } = provider.readWebhook(notice.raw);
  t.is(type, 'payment.succeeded');
  t.deepEqual(payment, { providerPaymentId, reference: request.reference });
  const withAnotherSecret = providerWith({ webhookSecret: 'another' });
  t.throws(() => withAnotherSecret.authenticateWebhook(notice), { instanceOf: WebhookRejected });
});

test.serial('its clock is set, and says what comes next', async (t) => {
  const own = await startPaymentSystem({ webhookUrl: receiver.url });
  t.teardown(() => own.stop());
  const ownProvider = createSandboxProvider({
    baseUrl: own.url,
    apiKey: own.apiKey,
    webhookSecrets: [own.webhookSecret],
  });
  const start = Temporal.Instant.from('2031-03-01T00:00:00Z');
  await ownProvider.setClock(start, false);
  t.deepEqual(await ownProvider.activity(), { nextAt: undefined, undeliveredWebhooks: 0, callsInFlight: 0 });

  const request = checkoutRequest();
  const { expiresAt } = await ownProvider.startCheckout(request);
  t.is(expiresAt.toString(), '2031-03-01T23:00:00Z');
  t.is((await ownProvider.activity()).nextAt?.toString(), '2031-03-01T23:00:00Z');
  await ownProvider.setClock(expiresAt, false);
  t.is((await ownProvider.lookUp({ reference: request.reference }))?.kind, 'dead');
});

test('lists what was begun in a span of time, page by page, with what became of it', async (t) => {
  const own = await startPaymentSystem({ webhookUrl: receiver.url });
  t.teardown(() => own.stop());
  const lister = createSandboxProvider({ baseUrl: own.url, apiKey: own.apiKey, webhookSecrets: ['a'] });
  const from = Temporal.Instant.from('2031-05-01T00:00:00Z');
  await own.setClock(from, false);
  const count = 201;
  const requests = Array.from({ length: count }, checkoutRequest);
  const pages = [];
  for (const request of requests) pages.push(await lister.startCheckout(request));
  await own.pay(pages[0]!.url);
  const refund = { idempotencyKey: 'rfd_1', reference: 'refund-1', amount: roubles(900n) };
  await lister.refund({ ...refund, providerPaymentId: pages[0]!.providerPaymentId });
  await own.setClock(from.add({ hours: 1 }), false);
  await lister.startCheckout(checkoutRequest());
  const to = from.add({ hours: 1 });
  const first = await lister.listPayments({ from, to });
  const { createdAt, ...listed } = first.payments[0]!;
  t.is(createdAt.toString(), '2031-05-01T00:00:00Z');
  t.deepEqual(listed, {
    providerPaymentId: pages[0]!.providerPaymentId,
    reference: requests[0]!.reference,
    status: 'succeeded',
    amount: roubles(59_900n),
    refundedMinor: 900n,
  });
  t.like(first.payments[1], { status: 'waiting', refundedMinor: 0n });
  const second = await lister.listPayments({ from, to, cursor: first.nextCursor });
  t.is(second.nextCursor, undefined);
  t.deepEqual(
    [...first.payments, ...second.payments].map(({ reference }) => reference),
    requests.map(({ reference }) => reference),
  );
});
