import test, { type ExecutionContext } from 'ava';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTcpServer, type AddressInfo, type Socket } from 'node:net';
import { NotExecuted, OutcomeUnknown, RequestRefused } from '../../provider.ts';
import { createSandboxProvider } from './sandbox-provider.ts';

const reference = '0198c0de-0000-7000-8000-000000000001';
const request = {
  idempotencyKey: 'pay_1_1',
  reference,
  amount: { currencyCode: 'RUB', amountMinor: 59_900n },
  providerCustomerId: 'cus_1',
  providerMethodId: 'pm_1',
  description: 'Basic, February',
};
const payment = {
  id: 'pay_1',
  kind: 'off_session',
  mode: 'payment',
  status: 'succeeded',
  amount_minor: '59900',
  currency: 'RUB',
  customer: 'cus_1',
  customer_reference: 'user',
  payment_method: {
    id: 'pm_1',
    brand: 'visa',
    last4: '4242',
    expiry_month: 12,
    expiry_year: 2049,
    fingerprint: 'fp_1',
  },
  reference,
  description: 'Basic, February',
  decline_code: null,
  decline_kind: null,
  refunded_minor: '0',
  page_url: null,
  action_url: null,
  created_at: '2031-03-01T00:00:00.000Z',
  settled_at: '2031-03-01T00:00:00.000Z',
  expires_at: null,
};
const page = 'http://127.0.0.1:1/pay/pay_1';
const checkout = {
  ...payment,
  kind: 'checkout',
  status: 'open',
  page_url: page,
  expires_at: '2031-03-01T23:00:00.000Z',
};
const error = (code: string) => JSON.stringify({ error: { type: 'x', code, message: 'x' } });

type Answer = (request: IncomingMessage, response: ServerResponse) => unknown;

const providerAt = (port: number, callDeadlineMs = 5_000) =>
  createSandboxProvider({
    baseUrl: `http://127.0.0.1:${port}`,
    apiKey: 'key',
    webhookSecrets: ['secret'],
    callDeadlineMs,
  });

/** A server that answers each request in whatever way the test wants, and a provider that calls it. */
async function answering(t: ExecutionContext, answer: Answer, callDeadlineMs?: number) {
  const keys: unknown[] = [];
  const server = createServer(async (incoming, response) => {
    for await (const _ of incoming);
    keys.push(incoming.headers['idempotency-key']);
    await answer(incoming, response);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address() as AddressInfo;
  return { provider: providerAt(port, callDeadlineMs), keys, server };
}

const reply =
  (status: number, text: string, headers: Record<string, string> = {}): Answer =>
  (_, response) =>
    response.writeHead(status, headers).end(text);

test('reads a good answer', async (t) => {
  const { provider } = await answering(t, reply(200, JSON.stringify(payment)));
  t.deepEqual(await provider.charge(request), {
    kind: 'succeeded',
    providerPaymentId: 'pay_1',
    amount: { currencyCode: 'RUB', amountMinor: 59_900n },
    refundedMinor: 0n,
    method: {
      providerCustomerId: 'cus_1',
      providerMethodId: 'pm_1',
      brand: 'visa',
      last4: '4242',
      expiryMonth: 12,
      expiryYear: 2049,
      fingerprint: 'fp_1',
    },
  });
});

test('tells another amount than was asked for as it is: the settle compares', async (t) => {
  const { provider } = await answering(t, reply(200, JSON.stringify({ ...payment, amount_minor: '59901' })));
  t.like(await provider.charge(request), { kind: 'succeeded', amount: { currencyCode: 'RUB', amountMinor: 59_901n } });
});

test('a refused connection did nothing', async (t) => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  await t.throwsAsync(providerAt(port).charge(request), { instanceOf: NotExecuted });
});

for (const [status, code] of [
  [429, 'rate_limited'],
  [409, 'idempotency_key_in_use'],
] as const) {
  test(`${status} ${code} did nothing, and says when to come again`, async (t) => {
    const { provider } = await answering(t, reply(status, error(code), { 'retry-after': '7' }));
    const thrown = await t.throwsAsync(provider.charge(request), { instanceOf: NotExecuted });
    t.is((thrown as NotExecuted).retryAfterMs, 7_000);
  });
}

for (const status of [400, 401, 403, 404]) {
  test(`${status} was refused`, async (t) => {
    const { provider } = await answering(t, reply(status, error('some_code')));
    await t.throwsAsync(provider.charge(request), { instanceOf: RequestRefused });
  });
}

test('only the documented 404 says that there is no such payment', async (t) => {
  const query = { providerPaymentId: 'pay_1', reference };
  const documented = await answering(t, reply(404, error('not_found')));
  t.is(await documented.provider.lookUp(query), undefined);
  const elsewhere = await answering(t, reply(404, '<html>not found</html>'));
  await t.throwsAsync(elsewhere.provider.lookUp(query), { instanceOf: OutcomeUnknown });
});

const changed = (change: object) => reply(200, JSON.stringify({ ...payment, ...change }));
const unknown: Record<string, Answer> = {
  '500': reply(500, error('internal_error')),
  '502 of a proxy': reply(502, '<html>bad gateway</html>'),
  '503 that claims that the key is in use': reply(503, error('idempotency_key_in_use')),
  '409 of another kind': reply(409, error('conflict')),
  '408': reply(408, ''),
  'a redirect to an address that would answer': reply(307, '', { location: '/elsewhere' }),
  '204': reply(204, ''),
  nothing: reply(200, ''),
  garbage: reply(200, '<html>ok</html>'),
  'broken JSON': reply(200, JSON.stringify(payment).slice(0, -1)),
  'bytes that are not UTF-8': (_, response) =>
    response.end(Buffer.from(JSON.stringify({ ...payment, description: '\u00e9' }), 'latin1')),
  'more than 256 KiB': reply(200, JSON.stringify(payment) + ' '.repeat(256 * 1024)),
  null: reply(200, 'null'),
  'a list': reply(200, JSON.stringify([payment])),
  'an empty object': reply(200, '{}'),
  'no id': changed({ id: undefined }),
  'an empty id': changed({ id: '' }),
  'an amount as a number': changed({ amount_minor: 59_900 }),
  'an amount of zero': changed({ amount_minor: '0' }),
  'a negative amount': changed({ amount_minor: '-59900' }),
  'a hexadecimal amount': changed({ amount_minor: '0xe9fc' }),
  'an amount with blanks': changed({ amount_minor: ' 59900 ' }),
  'an amount with a fraction': changed({ amount_minor: '599.00' }),
  'a currency in small letters': changed({ currency: 'rub' }),
  'no currency': changed({ currency: null }),
  'an unknown status': changed({ status: 'pending' }),
  'an open charge': changed({ status: 'open' }),
  'a checkout instead of a charge': changed({ kind: 'checkout' }),
  'another reference': changed({ reference: 'another' }),
  'a decline of no kind': changed({ status: 'declined', decline_code: 'no_funds' }),
  'a decline without a code': changed({ status: 'declined', decline_kind: 'hard' }),
  'a card without its digits': changed({ payment_method: { ...payment.payment_method, last4: '42' } }),
  'a whole card number': changed({ payment_method: { ...payment.payment_method, last4: '4242424242424242' } }),
  'a card without a fingerprint': changed({ payment_method: { ...payment.payment_method, fingerprint: undefined } }),
  'an action without an address': changed({ status: 'requires_action' }),
  'an action at no web address': changed({ status: 'requires_action', action_url: 'javascript:alert(1)' }),
  'a set-up instead of a charge': changed({ kind: 'checkout', mode: 'setup', amount_minor: '0' }),
  'month 13': changed({ payment_method: { ...payment.payment_method, expiry_month: 13 } }),
  'a connection that is reset': (incoming) => incoming.socket.resetAndDestroy(),
  'an answer that breaks off': (incoming, response) => {
    response.writeHead(200, { 'content-length': '1000' }).write('{"id":"pay_1"');
    setTimeout(() => incoming.socket.destroy(), 20);
  },
};

for (const [name, answer] of Object.entries(unknown)) {
  test(`the outcome of a charge is unknown after ${name}`, async (t) => {
    const { provider, keys } = await answering(t, (incoming, response) =>
      incoming.url === '/v1/charges' ? answer(incoming, response) : response.end(JSON.stringify(payment)),
    );
    await t.throwsAsync(provider.charge(request), { instanceOf: OutcomeUnknown });
    t.is(keys.length, 1, 'called once');
  });
}

test('the outcome is unknown at the deadline, also when an answer has begun', async (t) => {
  const silent = await answering(t, () => undefined, 200);
  await t.throwsAsync(silent.provider.charge(request), { instanceOf: OutcomeUnknown });
  const slow = await answering(t, (_, response) => response.writeHead(200).write('{'), 200);
  await t.throwsAsync(slow.provider.charge(request), { instanceOf: OutcomeUnknown });
});

test('a list of payments is believed only in its form', async (t) => {
  const span = {
    from: Temporal.Instant.from('2031-03-01T00:00:00Z'),
    to: Temporal.Instant.from('2031-04-01T00:00:00Z'),
  };
  const list = (more: object) => JSON.stringify({ data: [payment], has_more: false, ...more });
  const good = await answering(t, reply(200, list({})));
  t.is((await good.provider.listPayments(span)).payments.length, 1);
  for (const wrong of [
    { data: {} },
    { has_more: undefined },
    { data: [], has_more: true },
    { data: [null] },
    ...[
      { amount_minor: 59_900 },
      { refunded_minor: '-1' },
      { currency: 'rub' },
      { status: 'paid' },
      { created_at: 'soon' },
    ].map((field) => ({ data: [{ ...payment, ...field }] })),
  ]) {
    const { provider } = await answering(t, reply(200, list(wrong)));
    await t.throwsAsync(provider.listPayments(span), { instanceOf: OutcomeUnknown }, JSON.stringify(wrong));
  }
});

test('a page is sent to nobody unless it is a web address', async (t) => {
  const start = { ...request, mode: 'payment' as const, customerReference: 'user', returnUrl: '' };
  const good = await answering(t, reply(200, JSON.stringify(checkout)));
  const { expiresAt, ...opened } = await good.provider.startCheckout(start);
  t.deepEqual(opened, { providerPaymentId: 'pay_1', url: page });
  t.is(expiresAt.toString(), '2031-03-01T23:00:00Z');
  const bad = [null, 'javascript:alert(1)', 'data:text/html,x', '/pay/pay_1', 7, `http://x/${'a'.repeat(2048)}`];
  for (const page_url of bad) {
    const { provider } = await answering(t, reply(200, JSON.stringify({ ...checkout, page_url })));
    await t.throwsAsync(provider.startCheckout(start), { instanceOf: OutcomeUnknown }, String(page_url));
  }
  for (const expires_at of [null, 'tomorrow', 7]) {
    const { provider } = await answering(t, reply(200, JSON.stringify({ ...checkout, expires_at })));
    await t.throwsAsync(provider.startCheckout(start), { instanceOf: OutcomeUnknown }, String(expires_at));
  }
});

test('a page that is still open after it was closed is not believed to be dead', async (t) => {
  const { provider } = await answering(t, reply(200, JSON.stringify(checkout)));
  await t.throwsAsync(provider.expireCheckout('pay_1'), { instanceOf: OutcomeUnknown });
});

const refundRequest = { idempotencyKey: 'rfd_1', reference, providerPaymentId: 'pay_1', amount: request.amount };
const refund = {
  id: 're_1',
  payment: 'pay_1',
  status: 'succeeded',
  failure_reason: null,
  amount_minor: '59900',
  currency: 'RUB',
  reference,
  created_at: '2031-03-01T00:00:00.000Z',
};

test('an answer that is not the refund, as it was asked for, is not believed', async (t) => {
  const good = await answering(t, reply(200, JSON.stringify(refund)));
  t.deepEqual(await good.provider.refund(refundRequest), { kind: 'succeeded', providerRefundId: 're_1' });
  const wrong: object[] = [
    { id: '' },
    { payment: 'pay_2' },
    { status: 'canceled' },
    { status: 'failed' },
    { amount_minor: '59901' },
    { currency: 'EUR' },
    { reference: 'another' },
  ];
  for (const change of wrong) {
    const { provider } = await answering(t, reply(200, JSON.stringify({ ...refund, ...change })));
    await t.throwsAsync(provider.refund(refundRequest), { instanceOf: OutcomeUnknown }, JSON.stringify(change));
  }
});

test('of several refunds with our reference the one that moved money counts, and no list is no answer', async (t) => {
  const failed = { ...refund, id: 're_0', status: 'failed', failure_reason: 'card_closed' };
  const query = { reference, providerPaymentId: 'pay_1' };
  const list = await answering(t, reply(200, JSON.stringify({ data: [failed, refund] })));
  t.deepEqual(await list.provider.lookUpRefund(query), { kind: 'succeeded', providerRefundId: 're_1' });
  const onlyFailed = await answering(t, reply(200, JSON.stringify({ data: [failed] })));
  t.like(await onlyFailed.provider.lookUpRefund(query), { kind: 'failed', reason: 'card_closed' });
  for (const text of ['null', '{}', '{"data":[null]}']) {
    const { provider } = await answering(t, reply(200, text));
    await t.throwsAsync(provider.lookUpRefund(query), { instanceOf: OutcomeUnknown }, text);
  }
});

test('an answer about another payment than the one that was named is not believed', async (t) => {
  const other = { ...checkout, id: 'pay_2', status: 'expired' };
  const { provider } = await answering(t, reply(200, JSON.stringify(other)));
  await t.throwsAsync(provider.expireCheckout('pay_1'), { instanceOf: OutcomeUnknown });
  await t.throwsAsync(provider.lookUp({ providerPaymentId: 'pay_1', reference }), { instanceOf: OutcomeUnknown });
  t.is((await provider.expireCheckout('pay_2')).kind, 'dead');
});

test('of several payments with our reference the one with the money counts, and no list is no answer', async (t) => {
  const declined = { ...payment, id: 'pay_0', status: 'declined', decline_code: 'no_funds', decline_kind: 'soft' };
  const list = await answering(t, reply(200, JSON.stringify({ data: [declined, payment] })));
  t.like(await list.provider.lookUp({ reference }), { kind: 'succeeded', providerPaymentId: 'pay_1' });
  for (const text of ['null', '{}', '{"data":{}}', '{"data":[null]}']) {
    const { provider } = await answering(t, reply(200, text));
    await t.throwsAsync(provider.lookUp({ reference }), { instanceOf: OutcomeUnknown }, text);
  }
});

test('what is not a page of whole disputes is no list of them', async (t) => {
  const dispute = {
    id: 'dp_1',
    payment: 'pay_1',
    payment_reference: reference,
    status: 'withdrawn',
    amount_minor: '100',
    currency: 'RUB',
    reason: 'fraudulent',
  };
  const span = {
    from: Temporal.Instant.from('2027-01-01T00:00:00Z'),
    to: Temporal.Instant.from('2027-01-02T00:00:00Z'),
  };
  const page = { data: [dispute], has_more: false };
  const good = await answering(t, reply(200, JSON.stringify(page)));
  t.is((await good.provider.listDisputes(span)).disputes.length, 1);
  for (const wrong of [
    { data: {} },
    { data: [null] },
    { data: [], has_more: true },
    { has_more: 'no' },
    { data: [{ ...dispute, status: 'resting' }] },
    { data: [{ ...dispute, amount_minor: '-1' }] },
  ]) {
    const { provider } = await answering(t, reply(200, JSON.stringify({ ...page, ...wrong })));
    await t.throwsAsync(provider.listDisputes(span), { instanceOf: OutcomeUnknown }, JSON.stringify(wrong));
  }
});

test('a clock that makes no sense is no answer', async (t) => {
  const clock = { next_at: null, undelivered_webhooks: 0, calls_in_flight: 0, latest_dispute_at: null };
  for (const wrong of [
    { next_at: 'soon' },
    { undelivered_webhooks: '0' },
    { calls_in_flight: undefined },
    { latest_dispute_at: undefined },
  ]) {
    const { provider } = await answering(t, reply(200, JSON.stringify({ ...clock, ...wrong })));
    await t.throwsAsync(provider.activity(), { instanceOf: OutcomeUnknown }, JSON.stringify(wrong));
  }
});

test('reads a list of notices; one of a customer that is no viewer is nobody’s; what makes no sense is no answer', async (t) => {
  const webhook = {
    number: 3,
    id: 'evt_1',
    type: 'payment.succeeded',
    payment: 'pay_1',
    customer_reference: reference,
    state: 'given_up',
    tries: 19,
    last_status: 503,
    created_at: '2031-03-01T00:00:00.000Z',
    last_tried_at: '2031-03-03T22:00:00.000Z',
    next_try_at: null,
  };
  const query = { userId: undefined, before: undefined, limit: 3 };
  const unsent = { ...webhook, number: 2, customer_reference: 'somebody', state: 'held_back', tries: 0 };
  const lists = [webhook, { ...unsent, last_status: null, last_tried_at: null, next_try_at: webhook.created_at }];
  const { provider } = await answering(t, reply(200, JSON.stringify({ data: lists })));
  const [first, second] = await provider.deliveries(query);
  t.like(first, { number: 3, providerEventId: 'evt_1', userId: reference, state: 'GIVEN_UP', lastHttpStatus: 503 });
  t.is(first!.lastTriedAt?.toString(), '2031-03-03T22:00:00Z');
  t.is(first!.nextTryAt, null);
  t.like(second, { number: 2, userId: undefined, state: 'HELD_BACK', lastHttpStatus: undefined, lastTriedAt: null });
  t.is(second!.nextTryAt?.toString(), '2031-03-01T00:00:00Z');

  for (const wrong of [
    { number: -1 },
    { id: '' },
    { state: 'sent' },
    { tries: '1' },
    { last_status: 0 },
    { created_at: 'now' },
  ]) {
    const damaged = await answering(t, reply(200, JSON.stringify({ data: [{ ...webhook, ...wrong }] })));
    await t.throwsAsync(damaged.provider.deliveries(query), { instanceOf: OutcomeUnknown }, JSON.stringify(wrong));
  }
  for (const text of ['null', '{}', '{"data":{}}', '{"data":[null]}']) {
    const damaged = await answering(t, reply(200, text));
    await t.throwsAsync(damaged.provider.deliveries(query), { instanceOf: OutcomeUnknown }, text);
  }
});

/**
 * A server that answers the first request of a connection and resets the connection when a second one comes, as one
 * does that had closed it just before. `later` says what becomes of the connections after the first.
 */
async function losingKeptConnections(t: ExecutionContext, later: (socket: Socket) => void) {
  const connections: string[][] = [];
  const server = createTcpServer((socket) => {
    const requests: string[] = [];
    connections.push(requests);
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => {
      requests.push(/^idempotency-key: (.*)$/im.exec(chunk.toString())?.[1] ?? '');
      if (connections.length > 1) later(socket);
      else if (requests.length === 1) write(socket, 200, JSON.stringify(payment));
      else socket.resetAndDestroy();
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const provider = providerAt((server.address() as AddressInfo).port);
  t.is((await provider.charge(request)).kind, 'succeeded');
  return { provider, connections };
}

const write = (socket: Socket, status: number, text: string) =>
  socket.write(`HTTP/1.1 ${status} x\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`);

test('a lost kept connection is no unknown outcome: the call is repeated once under its key', async (t) => {
  const { provider, connections } = await losingKeptConnections(t, (socket) =>
    write(socket, 200, JSON.stringify(payment)),
  );
  t.is((await provider.charge({ ...request, idempotencyKey: 'pay_1_2' })).kind, 'succeeded');
  t.deepEqual(connections, [['pay_1_1', 'pay_1_2'], ['pay_1_2']]);
});

const afterTheLoss: Record<string, (socket: Socket) => void> = {
  'lost again': (socket) => socket.resetAndDestroy(),
  'told that the key is in use': (socket) => write(socket, 409, error('idempotency_key_in_use')),
  'rate limited': (socket) => write(socket, 429, error('rate_limited')),
  refused: (socket) => write(socket, 401, error('api_key_invalid')),
};

for (const [name, later] of Object.entries(afterTheLoss)) {
  test(`the outcome is unknown when the repeat after a lost connection is ${name}`, async (t) => {
    const { provider, connections } = await losingKeptConnections(t, later);
    await t.throwsAsync(provider.charge(request), { instanceOf: OutcomeUnknown });
    t.is(connections.length, 2);
  });
}

test('is not built for an address that it cannot call', (t) => {
  for (const baseUrl of ['', 'payment-system:8090', 'https://payment-system']) {
    const options = { baseUrl, apiKey: 'key', webhookSecrets: ['secret'] };
    t.throws(() => createSandboxProvider(options), { message: /http address/ });
  }
});
