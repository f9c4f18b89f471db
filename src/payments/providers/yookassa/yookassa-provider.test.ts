import test, { type ExecutionContext } from 'ava';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { chargeRequest, checkoutRequest, payOnPage } from '../../../testing/provider-contract/subject.ts';
import { startYookassaSubject } from '../../../testing/provider-contract/yookassa-subject.ts';
import type { DoubleCard } from '../../../local/double/cards.ts';
import { NotExecuted, OutcomeUnknown, RequestRefused, WebhookRejected } from '../../provider.ts';
import { createYookassaProvider } from './yookassa-provider.ts';

const { subject, double } = await startYookassaSubject();
test.after.always(() => double.close());

const provider = subject.build();

/** A charge of a card that behaves like that; it has been saved on a page. */
async function chargeOf(card: DoubleCard) {
  const request = checkoutRequest(subject);
  const page = await provider.startCheckout(request);
  double.pay(page.url, card);
  const paid = await provider.lookUp({ providerPaymentId: page.providerPaymentId, reference: request.reference });
  if (paid?.kind !== 'succeeded' || !paid.method) throw new Error(`not paid: ${paid?.kind}`);
  return chargeRequest(subject, paid.method);
}

test.serial('a charge that needs the customer waits with an address, and is taken after it', async (t) => {
  const request = await chargeOf('needs customer');
  const outcome = await provider.charge(request);
  if (outcome.kind !== 'waiting') return t.fail(outcome.kind);
  t.true(outcome.actionUrl?.endsWith(`/checkout/${outcome.providerPaymentId}`));
  t.deepEqual(await provider.cancelPending(outcome.providerPaymentId), outcome, 'YooKassa cannot kill it');
  double.pay(outcome.actionUrl!, 'needs customer');
  const { reference } = request;
  t.is((await provider.lookUp({ reference, providerPaymentId: outcome.providerPaymentId }))?.kind, 'succeeded');
  t.is((await subject.bookOf(reference)).chargeCount, 1);
});

test.serial('a 500 stays unknown on every repeat, and a look-up tells that the money was taken', async (t) => {
  const request = await chargeOf('error later');
  for (let repeat = 0; repeat < 3; repeat++) {
    await t.throwsAsync(provider.charge(request), { instanceOf: OutcomeUnknown });
  }
  t.like(await provider.lookUp({ reference: request.reference }), { kind: 'succeeded', amount: request.amount });
  t.is((await subject.bookOf(request.reference)).chargeCount, 1);
});

test.serial('a page that nobody finished in time is dead, not declined', async (t) => {
  const request = checkoutRequest(subject);
  const { providerPaymentId } = await provider.startCheckout(request);
  const details = { party: 'yoo_money', reason: 'expired_on_confirmation' };
  Object.assign(double.shop.payments.get(providerPaymentId)!, { status: 'canceled', cancellation_details: details });
  const dead = { kind: 'dead' as const, providerPaymentId };
  t.deepEqual(await provider.lookUp({ providerPaymentId, reference: request.reference }), dead);
  t.deepEqual(await provider.expireCheckout(providerPaymentId), dead);
});

test.serial('every call that does something carries our key', async (t) => {
  await provider.charge(await chargeOf('good'));
  const doing = double.calls.filter(({ call }) => call.startsWith('POST'));
  t.true(doing.length > 0);
  t.deepEqual(
    doing.filter(({ key }) => !/^(pay|rfd)_[\w-]{1,60}$/.test(key ?? '')),
    [],
  );
});

test.serial('a refund is found by its id and by our reference', async (t) => {
  const { providerPaymentId } = await payOnPage(subject);
  const reference = crypto.randomUUID();
  const amount = { currencyCode: 'RUB', amountMinor: 105n };
  const outcome = await provider.refund({ idempotencyKey: `rfd_${reference}`, reference, providerPaymentId, amount });
  t.is(outcome.kind, 'succeeded');
  const { providerRefundId } = outcome;
  t.deepEqual(await provider.lookUpRefund({ providerRefundId, reference, providerPaymentId }), outcome);
  t.deepEqual(await provider.lookUpRefund({ reference, providerPaymentId }), outcome);
  t.is(await provider.lookUpRefund({ reference: crypto.randomUUID(), providerPaymentId }), undefined);
});

test.serial('all payments of a span of time are listed once each, page by page', async (t) => {
  for (let count = 0; count < 101; count++) await provider.startCheckout(checkoutRequest(subject));
  const [from, to] = [Temporal.Instant.fromEpochMilliseconds(0), Temporal.Now.instant().add({ hours: 1 })];
  const references: string[] = [];
  let cursor: string | undefined;
  let takenMinor = 0n;
  do {
    const page = await provider.listPayments({ from, to, cursor });
    references.push(...page.payments.map(({ reference }) => reference));
    for (const { status, amount } of page.payments) if (status === 'succeeded') takenMinor += amount.amountMinor;
    cursor = page.nextCursor;
  } while (cursor !== undefined && references.length < 10_000);
  t.is(references.length, double.shop.payments.size);
  t.is(new Set(references).size, references.length);
  const taken = [...double.shop.payments.values()].filter(({ status }) => status === 'succeeded');
  const books = taken.map(({ metadata }) => subject.bookOf((metadata as Record<string, string>)['reference']!));
  t.is(
    takenMinor,
    (await Promise.all(books)).reduce((sum, book) => sum + book.takenMinor, 0n),
  );
});

test.serial('a notice is only ever a hint, and one without our reference is about no payment', async (t) => {
  const paid = await payOnPage(subject);
  const notice = subject.noticeOf(paid);
  t.is(provider.authenticateWebhook(notice), 'hint only');
  const { reference, providerPaymentId } = paid;
  t.deepEqual(provider.readWebhook(notice.raw), {
    eventId: `payment.succeeded:${providerPaymentId}`,
    type: 'payment.succeeded',
    payment: { reference, providerPaymentId },
  });
  const foreign = { type: 'notification', event: 'payment.succeeded', object: { id: 'p', metadata: {} } };
  t.is(provider.readWebhook(Buffer.from(JSON.stringify(foreign))).payment, undefined);
  const refund = { type: 'notification', event: 'refund.succeeded', object: { id: 'r', metadata: { reference } } };
  t.is(provider.readWebhook(Buffer.from(JSON.stringify(refund))).payment, undefined);
});

test('a notice from elsewhere is rejected before anything of it is read', (t) => {
  const shop = { shopId: '1', secretKey: 'k', returnUrl: 'https://cinema.example/' };
  const open = (noticeAddresses: string[]) => createYookassaProvider({ ...shop, noticeAddresses });
  const strict = open(['185.71.76.0/27', '77.75.156.11', '2a02:5180::/32']);
  const from = (remoteAddress: string) => ({ raw: Buffer.from('{}'), headers: {}, remoteAddress });
  for (const address of ['185.71.76.0', '185.71.76.31', '::ffff:185.71.76.9', '77.75.156.11', '2a02:5180:0:1::7']) {
    t.is(strict.authenticateWebhook(from(address)), 'hint only', address);
  }
  for (const address of ['185.71.76.32', '127.0.0.1', '::ffff:77.75.156.12', '2a02:5181::1', '', 'nonsense']) {
    t.throws(() => strict.authenticateWebhook(from(address)), { instanceOf: WebhookRejected }, address);
  }
  t.is(open(['any']).authenticateWebhook(from('127.0.0.1')), 'hint only');
  t.throws(() => open(['example.com']));
});

test.serial('only roubles are taken, and they are written with their kopecks', async (t) => {
  const request = await chargeOf('good');
  const before = double.calls.length;
  const euros = { currencyCode: 'EUR', amountMinor: 100n };
  await t.throwsAsync(provider.charge({ ...request, amount: euros }), { instanceOf: RequestRefused });
  t.is(double.calls.length, before);
  const { providerPaymentId } = await provider.charge({ ...request, amount: { currencyCode: 'RUB', amountMinor: 7n } });
  t.deepEqual(double.shop.payments.get(providerPaymentId!)!['amount'], { value: '0.07', currency: 'RUB' });
});

const request = {
  idempotencyKey: 'pay_1_1',
  reference: '0198c0de-0000-7000-8000-000000000001',
  amount: { currencyCode: 'RUB', amountMinor: 59_900n },
  providerCustomerId: 'user',
  providerMethodId: 'pm_1',
  description: 'Basic, February',
};
const payment = {
  id: 'p_1',
  status: 'succeeded',
  amount: { value: '599.00', currency: 'RUB' },
  metadata: { reference: request.reference },
};

type Answer = (request: IncomingMessage, response: ServerResponse) => unknown;

async function answering(t: ExecutionContext, answer: Answer, callDeadlineMs = 5_000) {
  const keys: unknown[] = [];
  const server = createServer(async (incoming, response) => {
    for await (const _ of incoming);
    keys.push(incoming.headers['idempotence-key']);
    await answer(incoming, response);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const shop = { shopId: '1', secretKey: 'k', returnUrl: 'https://cinema.example/', noticeAddresses: ['any'] };
  const options = { ...shop, baseUrl, callDeadlineMs };
  return { provider: createYookassaProvider(options), keys };
}

const reply =
  (status: number, body: unknown): Answer =>
  (_, response) =>
    response.writeHead(status, { 'retry-after': '7' }).end(typeof body === 'string' ? body : JSON.stringify(body));
const error = (code: string) => ({ type: 'error', id: 'e', code, description: 'x' });
const changed = (change: object) => reply(200, { ...payment, ...change });

const unknown: Record<string, Answer> = {
  '500': reply(500, error('internal_server_error')),
  '502 of a proxy': reply(502, '<html>bad gateway</html>'),
  '202: still being processed': reply(202, { type: 'processing', retry_after: 1_800 }),
  '401 of a proxy': reply(401, '<html>who are you</html>'),
  'a redirect': reply(307, ''),
  garbage: reply(200, '<html>fine</html>'),
  null: reply(200, 'null'),
  'an amount as a number': changed({ amount: { value: 599, currency: 'RUB' } }),
  'an amount without kopecks': changed({ amount: { value: '599', currency: 'RUB' } }),
  'another currency': changed({ amount: { value: '599.00', currency: 'USD' } }),
  'another reference': changed({ metadata: { reference: 'another' } }),
  'a payment in two stages': changed({ status: 'waiting_for_capture' }),
  'a cancellation without a reason': changed({ status: 'canceled' }),
  'a connection that is reset, twice': (incoming) => incoming.socket.resetAndDestroy(),
};

for (const [name, answer] of Object.entries(unknown)) {
  test(`the outcome of a charge is unknown after ${name}`, async (t) => {
    const { provider: caller, keys } = await answering(t, answer);
    await t.throwsAsync(caller.charge(request), { instanceOf: OutcomeUnknown });
    t.true(keys.every((key) => key === 'pay_1_1'));
  });
}

test('the outcome is unknown at the deadline', async (t) => {
  const { provider: caller } = await answering(t, () => undefined, 300);
  await t.throwsAsync(caller.charge(request), { instanceOf: OutcomeUnknown });
});

test('too many requests did nothing, and say when to come again', async (t) => {
  const { provider: caller } = await answering(t, reply(429, error('too_many_requests')));
  const thrown = await t.throwsAsync(caller.charge(request), { instanceOf: NotExecuted });
  t.is((thrown as NotExecuted).retryAfterMs, 7_000);
});

test('a refusal of the repeat after a lost connection proves nothing', async (t) => {
  let isFirst = true;
  const { provider: caller, keys } = await answering(t, (incoming, response) => {
    if (!isFirst) return reply(401, error('invalid_credentials'))(incoming, response);
    isFirst = false;
    return incoming.socket.resetAndDestroy();
  });
  await t.throwsAsync(caller.charge(request), { instanceOf: OutcomeUnknown });
  t.deepEqual(keys, ['pay_1_1', 'pay_1_1']);
});
