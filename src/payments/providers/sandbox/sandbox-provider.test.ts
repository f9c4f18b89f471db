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
    mode: 'payment' as const,
    idempotencyKey: `pay_${reference}_1`,
    reference,
    amount: roubles(59_900n),
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
  t.regex(fingerprint, /^fp_/);
  t.deepEqual(card, { brand: 'visa', last4: '4242', expiryMonth: 12, expiryYear: 2049 });
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
  const charge = chargeRequest({ ...(await saveCard()), providerCustomerId: 'cus_none' });
  await t.throwsAsync(provider.charge(charge), { instanceOf: RequestRefused });
});

test('a set-up saves the card and takes nothing', async (t) => {
  const request = { ...checkoutRequest(), mode: 'setup' as const, amount: roubles(0n) };
  const { providerPaymentId, url } = await provider.startCheckout(request);
  t.deepEqual(await provider.lookUp({ reference: request.reference }), { kind: 'waiting', providerPaymentId });
  await system.pay(url);
  const outcome = await provider.lookUp({ reference: request.reference });
  if (outcome?.kind !== 'method saved') return t.fail(outcome?.kind);
  t.like(outcome, { providerPaymentId, method: { last4: '4242' } });
  t.deepEqual(await provider.expireCheckout(providerPaymentId), outcome, 'too late to close the page');
  t.is((await provider.charge(chargeRequest(outcome.method))).kind, 'succeeded');
  t.is(outcome.method.fingerprint, (await saveCard()).fingerprint);

  const closed = await provider.startCheckout({ ...checkoutRequest(), mode: 'setup', amount: roubles(0n) });
  t.is((await provider.expireCheckout(closed.providerPaymentId)).kind, 'dead');
});

test('a charge that needs the customer waits at an address, and can be killed until it is confirmed', async (t) => {
  const method = await saveCard('4000000000003220');
  const [kept, killed] = [await provider.charge(chargeRequest(method)), await provider.charge(chargeRequest(method))];
  if (kept.kind !== 'waiting' || killed.kind !== 'waiting') return t.fail(kept.kind);
  await system.confirm(kept.actionUrl!);
  t.is((await provider.cancelPending(kept.providerPaymentId)).kind, 'succeeded');
  const dead = { kind: 'dead' as const, providerPaymentId: killed.providerPaymentId };
  t.deepEqual(await provider.cancelPending(killed.providerPaymentId), dead);
  await system.confirm(killed.actionUrl!);
  t.deepEqual(await provider.cancelPending(killed.providerPaymentId), dead);

  const underWay = await provider.charge(chargeRequest(await saveCard('4000000000000077')));
  if (underWay.kind !== 'waiting') return t.fail(underWay.kind);
  t.is(underWay.actionUrl, undefined);
  t.is((await provider.cancelPending(underWay.providerPaymentId)).kind, 'waiting', 'it cannot be killed');
});

test('a method that is detached, or never was, is a hard decline; detaching again is fine', async (t) => {
  const method = await saveCard();
  const declined = { kind: 'declined', declineCode: 'payment_method_detached', hard: true } as const;
  await provider.detachMethod({ ...method, providerCustomerId: 'cus_another' });
  t.is((await provider.charge(chargeRequest(method))).kind, 'succeeded', 'it is not his');
  await provider.detachMethod(method);
  await provider.detachMethod(method);
  await provider.detachMethod({ ...method, providerMethodId: 'pm_none' });
  t.like(await provider.charge(chargeRequest(method)), declined);
  t.like(await provider.charge(chargeRequest({ ...method, providerMethodId: 'pm_none' })), declined);
});

test('a refund tells how it began, and a look-up what became of it', async (t) => {
  for (const [card, began] of [
    ['4242424242424242', 'succeeded'],
    ['4000000000007726', 'pending'],
  ] as const) {
    const charge = await provider.charge(chargeRequest(await saveCard(card)));
    if (charge.kind !== 'succeeded') return t.fail(charge.kind);
    const reference = randomUUID();
    const query = { reference, providerPaymentId: charge.providerPaymentId };
    t.is(await provider.lookUpRefund(query), undefined);
    const refund = await provider.refund({ ...query, idempotencyKey: reference, amount: roubles(100n) });
    t.is(refund.kind, began);
    t.deepEqual(await provider.lookUpRefund(query), refund);
    const { providerRefundId } = refund;
    t.deepEqual(await provider.lookUpRefund({ ...query, providerRefundId }), refund);
    t.is(await provider.lookUpRefund({ ...query, providerRefundId: 're_none' }), undefined);
  }
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
  const signature = String(headers['sandbox-signature']);
  const notice = { raw: Buffer.from(body), headers: { 'sandbox-signature': signature }, remoteAddress: '127.0.0.1' };
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
  const nothing = { nextAt: undefined, undeliveredWebhooks: 0, callsInFlight: 0, latestDisputeAt: undefined };
  t.deepEqual(await ownProvider.activity(), nothing);

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

test('lists disputes in the span in which they were opened, page by page, as they are now', async (t) => {
  const own = await startPaymentSystem({ webhookUrl: receiver.url });
  t.teardown(() => own.stop());
  const lister = createSandboxProvider({ baseUrl: own.url, apiKey: own.apiKey, webhookSecrets: ['a'] });
  const from = Temporal.Instant.from('2031-05-01T00:00:00Z');
  await own.setClock(from, false);
  const count = 201;
  const disputed: { id: string; reference: string }[] = [];
  const dispute = async () => {
    const request = checkoutRequest();
    const { providerPaymentId, url } = await lister.startCheckout(request);
    await own.pay(url);
    disputed.push({ id: await own.dispute(providerPaymentId), reference: request.reference });
  };
  for (let number = 0; number < count; number++) await dispute();
  await own.closeDispute(disputed[0]!.id, 'lost');
  await own.setClock(from.add({ hours: 1 }), false);
  t.is((await lister.activity()).latestDisputeAt?.toString(), '2031-05-01T00:00:00Z');
  await dispute();
  t.is((await lister.activity()).latestDisputeAt?.toString(), '2031-05-01T01:00:00Z');
  const to = from.add({ hours: 1 });
  const first = await lister.listDisputes({ from, to });
  const { payment, ...rest } = first.disputes[0]!;
  t.deepEqual(rest, {
    providerDisputeId: disputed[0]!.id,
    status: 'lost',
    amount: roubles(59_900n),
    reason: 'fraudulent',
  });
  t.is(payment.reference, disputed[0]!.reference);
  t.is(first.disputes[1]!.status, 'withdrawn');
  const second = await lister.listDisputes({ from, to, cursor: first.nextCursor });
  t.is(second.nextCursor, undefined);
  t.deepEqual(
    [...first.disputes, ...second.disputes].map(({ providerDisputeId }) => providerDisputeId),
    disputed.slice(0, count).map(({ id }) => id),
  );
  t.is(
    (await lister.listDisputes({ from: to, to: to.add({ hours: 1 }) })).disputes[0]?.providerDisputeId,
    disputed[count]!.id,
  );
});
