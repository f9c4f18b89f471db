import test, { type ExecutionContext } from 'ava';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { NotExecuted, OutcomeUnknown, RequestRefused } from '../../provider.ts';
import { createStripeProvider } from './stripe-provider.ts';

const request = {
  idempotencyKey: 'pay_1_1',
  reference: '0198c0de-0000-7000-8000-000000000001',
  amount: { currencyCode: 'EUR', amountMinor: 999n },
  providerCustomerId: 'cus_1',
  providerMethodId: 'pm_1',
  description: 'Basic, February',
};
const card = { brand: 'visa', last4: '4242', exp_month: 12, exp_year: 2049, fingerprint: 'f' };
const intent = {
  id: 'pi_1',
  object: 'payment_intent',
  status: 'succeeded',
  amount: 999,
  amount_received: 999,
  currency: 'eur',
  customer: 'cus_1',
  payment_method: { id: 'pm_1', object: 'payment_method', customer: 'cus_1', card },
  metadata: { reference: request.reference },
  last_payment_error: null,
};

type Answer = (request: IncomingMessage, response: ServerResponse) => unknown;

async function answering(t: ExecutionContext, answer: Answer, callDeadlineMs = 5_000) {
  const calls: { url: string | undefined; key: unknown }[] = [];
  const server = createServer(async (incoming, response) => {
    for await (const _ of incoming);
    calls.push({ url: incoming.url, key: incoming.headers['idempotency-key'] });
    await answer(incoming, response);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  const provider = createStripeProvider({
    apiKey: 'sk_test_x',
    account: 'acct_x',
    webhookSecrets: ['whsec_x'],
    returnUrl: 'https://cinema.example/',
    baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    callDeadlineMs,
  });
  return { provider, calls };
}

const reply =
  (status: number, body: unknown, headers: Record<string, string> = {}): Answer =>
  (_, response) =>
    response.writeHead(status, headers).end(typeof body === 'string' ? body : JSON.stringify(body));
const error = (type: string, code?: string) => ({ error: { type, code, message: 'x' } });

test('reads a good answer', async (t) => {
  const { provider, calls } = await answering(t, reply(200, intent));
  t.deepEqual(await provider.charge(request), {
    kind: 'succeeded',
    providerPaymentId: 'pi_1',
    amount: { currencyCode: 'EUR', amountMinor: 999n },
    refundedMinor: 0n,
    method: {
      providerCustomerId: 'cus_1',
      providerMethodId: 'pm_1',
      brand: 'visa',
      last4: '4242',
      expiryMonth: 12,
      expiryYear: 2049,
      fingerprint: 'f',
    },
  });
  t.deepEqual(calls, [{ url: '/v1/payment_intents', key: 'pay_1_1' }]);
});

for (const [status, body] of [
  [429, error('invalid_request_error', 'rate_limit')],
  [409, error('invalid_request_error', 'idempotency_key_in_use')],
] as const) {
  test(`${status} did nothing, and says when to come again`, async (t) => {
    const { provider, calls } = await answering(t, reply(status, body, { 'retry-after': '7' }));
    const thrown = await t.throwsAsync(provider.charge(request), { instanceOf: NotExecuted });
    t.is((thrown as NotExecuted).retryAfterMs, 7_000);
    t.is(calls.length, 1, 'the package does not repeat by itself');
  });
}

test('a key with other parameters, a missing right and a bad parameter are refused', async (t) => {
  const method = { ...intent.payment_method };
  const refusals = [
    [400, error('idempotency_error')],
    [403, error('invalid_request_error')],
    [400, error('invalid_request_error', 'parameter_unknown')],
  ] as const;
  for (const [status, body] of refusals) {
    const { provider } = await answering(t, (incoming, response) =>
      incoming.method === 'POST' ? reply(status, body)(incoming, response) : reply(200, method)(incoming, response),
    );
    await t.throwsAsync(provider.charge(request), { instanceOf: RequestRefused });
  }
});

const changed = (change: object) => reply(200, { ...intent, ...change });
const unknown: Record<string, Answer> = {
  '500': reply(500, error('api_error')),
  '502 of a proxy': reply(502, '<html>bad gateway</html>'),
  '502 with a body that looks like a payment': reply(502, intent),
  '409 of another kind': reply(409, error('invalid_request_error', 'lock_timeout')),
  '402 that is no decline': reply(402, error('invalid_request_error')),
  'a decline that does not say of what': reply(402, error('card_error', 'card_declined')),
  'a redirect': reply(307, '', { location: '/elsewhere' }),
  nothing: reply(200, ''),
  garbage: reply(200, '<html>fine</html>'),
  null: reply(200, 'null'),
  'an empty object': reply(200, '{}'),
  'an error under 200': reply(200, error('api_error')),
  'no amount': changed({ amount_received: undefined }),
  'an amount as text': changed({ amount_received: '999' }),
  'a fraction': changed({ amount_received: 9.99 }),
  'no currency': changed({ currency: null }),
  'another reference': changed({ metadata: { reference: 'another' } }),
  'an unknown status': changed({ status: 'done' }),
  'a method that is not expanded': changed({ payment_method: 'pm_1' }),
  'a whole card number': changed({ payment_method: { id: 'pm_1', card: { ...card, last4: '4242424242424242' } } }),
  'a decline without a code': changed({ status: 'requires_payment_method', last_payment_error: {} }),
  'a connection that is reset, twice': (incoming) => incoming.socket.resetAndDestroy(),
  'an answer that breaks off': (incoming, response) => {
    response.writeHead(200, { 'content-length': '1000' }).write('{"id":"pi_1"');
    incoming.socket.destroySoon();
  },
};

for (const [name, answer] of Object.entries(unknown)) {
  test(`the outcome of a charge is unknown after ${name}`, async (t) => {
    const { provider, calls } = await answering(t, answer);
    await t.throwsAsync(provider.charge(request), { instanceOf: OutcomeUnknown });
    t.true(
      calls.every(({ key }) => key === 'pay_1_1'),
      'never under another key',
    );
  });
}

test('the outcome is unknown at the deadline, also when an answer has begun', async (t) => {
  const silent = await answering(t, () => undefined, 300);
  await t.throwsAsync(silent.provider.charge(request), { instanceOf: OutcomeUnknown });
  const slow = await answering(t, (_, response) => response.writeHead(200).write('{'), 300);
  await t.throwsAsync(slow.provider.charge(request), { instanceOf: OutcomeUnknown });
});

test('a lost connection is tried once more under its key, and a refusal of the repeat proves nothing', async (t) => {
  const once = (later: Answer): Answer => {
    let isFirst = true;
    return (incoming, response) => {
      if (!isFirst) return later(incoming, response);
      isFirst = false;
      return incoming.socket.resetAndDestroy();
    };
  };
  const good = await answering(t, once(reply(200, intent)));
  t.is((await good.provider.charge(request)).kind, 'succeeded');
  t.deepEqual(
    good.calls.map(({ key }) => key),
    ['pay_1_1', 'pay_1_1'],
  );
  for (const later of [
    reply(429, error('invalid_request_error', 'rate_limit')),
    reply(409, error('invalid_request_error', 'idempotency_key_in_use')),
    reply(401, error('invalid_request_error')),
  ]) {
    const { provider } = await answering(t, once(later));
    await t.throwsAsync(provider.charge(request), { instanceOf: OutcomeUnknown });
  }
});

test('only the documented 404 says that there is no such payment', async (t) => {
  const query = { providerPaymentId: 'pi_1', reference: request.reference };
  const documented = await answering(t, reply(404, error('invalid_request_error', 'resource_missing')));
  t.is(await documented.provider.lookUp(query), undefined);
  for (const body of [error('invalid_request_error'), '<html>not found</html>']) {
    const { provider } = await answering(t, reply(404, body));
    await t.throwsAsync(provider.lookUp(query), { instanceOf: OutcomeUnknown });
  }
});
