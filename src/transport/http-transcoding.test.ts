import { createHash } from 'node:crypto';
import test from 'ava';
import { PlanService } from '@cinema-billing/gen/billing/v1/plan_service_pb.ts';
import { WebhookService, type ReceiveWebhookRequest } from '@cinema-billing/gen/billing/v1/webhook_service_pb.ts';
import { BillingError } from '../lib/billing-error.ts';
import { startTestTransport, type TestTransport } from '../testing/running-transport.ts';
import type { RequestHeaders } from './call.ts';

let server: TestTransport;
/** By the bytes that came, because the tests run at once. */
const received = new Map<string, { request: ReceiveWebhookRequest; headers: RequestHeaders }>();
const digest = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

test.before(async () => {
  server = await startTestTransport((router) => {
    router.add(PlanService, {
      listPlans: async (_call, { currencyCode }) => ({ plans: [{ code: `priced in ${currencyCode || 'all'}` }] }),
      getPlan: async (_call, { code }) => {
        if (code === 'busy') {
          throw new BillingError('unavailable', 'DATABASE_UNAVAILABLE', 'try again', { retryDelayMs: 1500 });
        }
        if (code === 'missing') throw new BillingError('not-found', 'PLAN_NOT_FOUND', 'there is no such plan');
        return { plan: { code } };
      },
    });
    router.add(WebhookService, {
      receiveWebhook: async (call, request) => {
        received.set(digest(request.payload?.data ?? new Uint8Array()), { request, headers: call.requestHeaders });
        if (call.requestHeaders['x-signature'] === 'wrong') {
          throw new BillingError('invalid', 'WEBHOOK_SIGNATURE_INVALID', 'the notice is not authentic');
        }
        return {};
      },
    });
  });
});
test.after.always(async () => {
  await server.stop();
});

async function fetchJson(path: string, init?: RequestInit) {
  const response = await fetch(server.url + path, init);
  return { status: response.status, headers: response.headers, body: JSON.parse(await response.text()) };
}

const bytes = (text: string) => new TextEncoder().encode(text);
const notices: Record<string, Uint8Array<ArrayBuffer>> = {
  'odd whitespace and key order': bytes('{ "b" :1.0,\r\n\t"a":\u00a0"x" , "a":2}\n\n'),
  unicode: bytes('{"name":"Иван \\u0418 👩‍🚀"}'),
  'a byte order mark': bytes('\ufeff{}'),
  'invalid UTF-8': new Uint8Array([0x7b, 0xff, 0xfe, 0x80, 0xc3, 0x28, 0x7d]),
  'no JSON at all': bytes('amount=599&currency=RUB'),
  'what looks like gzip': new Uint8Array([0x1f, 0x8b, 0x08, 0x00, 0x01]),
  'zero bytes': new Uint8Array([0, 0, 0]),
  'exactly 256 KiB': new Uint8Array(256 * 1024).fill(0x61),
};

for (const [what, body] of Object.entries(notices)) {
  test(`hands a webhook's bytes to the method as they came: ${what}`, async (t) => {
    const headers = {
      'content-type': 'application/json; charset=windows-1251',
      'x-signature': `t=1,v1=${what.length}`,
    };
    const answer = await fetchJson('/v1/webhooks/sandbox', { method: 'POST', body, headers });
    t.is(answer.status, 200);
    t.deepEqual(answer.body, {});
    const seen = received.get(digest(body));
    t.is(seen?.request.provider, 'sandbox');
    t.deepEqual([...(seen?.request.payload?.data ?? [])], [...body]);
    t.is(seen?.request.payload?.contentType, 'application/json; charset=windows-1251');
    t.is(seen?.headers['x-signature'], `t=1,v1=${what.length}`);
  });
}

test('takes an empty notice as an empty payload, not as a missing one', async (t) => {
  t.is((await fetchJson('/v1/webhooks/sandbox', { method: 'POST' })).status, 200);
});

test('answers a bad signature with 400 and the error as google.rpc.Status', async (t) => {
  const init = { method: 'POST', body: 'x', headers: { 'x-signature': 'wrong' } };
  const answer = await fetchJson('/v1/webhooks/sandbox', init);
  t.is(answer.status, 400);
  t.deepEqual(answer.body, {
    error: {
      code: 400,
      status: 'INVALID_ARGUMENT',
      message: 'the notice is not authentic',
      details: [
        { '@type': 'type.googleapis.com/google.rpc.ErrorInfo', reason: 'WEBHOOK_SIGNATURE_INVALID', domain: 'billing' },
      ],
    },
  });
});

test('validates what comes by the path', async (t) => {
  const answer = await fetchJson('/v1/webhooks/SANDBOX%20', { method: 'POST', body: 'x' });
  t.is(answer.status, 400);
  t.is(answer.body.error.details[0].reason, 'INVALID_FIELDS');
  t.is(answer.body.error.details[1].fieldViolations[0].field, 'provider');
});

test.serial(
  'answers 413 to a notice over 256 KiB, told by its length or not, without calling the method',
  async (t) => {
    const body = new Uint8Array(256 * 1024 + 1).fill(0x62);
    const untold = { body: new Blob([body]).stream(), duplex: 'half' } as const;
    for (const [what, init] of Object.entries({ told: { body }, untold })) {
      const callsBefore = received.size;
      const answer = await fetchJson('/v1/webhooks/large', { method: 'POST', ...init });
      t.is(answer.status, 413, what);
      t.is(answer.body.error.status, 'RESOURCE_EXHAUSTED', what);
      t.is(answer.body.error.details[0].reason, 'BODY_TOO_LARGE', what);
      t.is(received.size, callsBefore, what);
    }
  },
);

test('answers 405 with the allowed methods', async (t) => {
  for (const method of ['GET', 'PUT', 'OPTIONS', 'DELETE']) {
    const answer = await fetchJson('/v1/webhooks/sandbox', { method });
    t.is(answer.status, 405, method);
    t.is(answer.headers.get('allow'), 'POST', method);
    t.is(answer.body.error.details[0].reason, 'HTTP_METHOD_NOT_ALLOWED', method);
  }
  t.is((await fetchJson('/v1/plans', { method: 'POST' })).headers.get('allow'), 'GET');
});

test('answers 404 to a path that only looks like a rule', async (t) => {
  for (const path of ['/v1/webhooks', '/v1/webhooks/', '/v1/webhooks/sandbox/', '/v1/webhooks/a/b', '/v1/Plans']) {
    t.is((await fetchJson(path, { method: 'POST' })).status, 404, path);
  }
});

test('binds the path and the query by the proto’s and by the JSON name', async (t) => {
  t.deepEqual((await fetchJson('/v1/plans/premium')).body, { plan: { code: 'premium' } });
  t.deepEqual((await fetchJson('/v1/plans/a%2Fb%20%D1%8F')).body, { plan: { code: 'a/b я' } });
  t.deepEqual((await fetchJson('/v1/plans')).body, { plans: [{ code: 'priced in all' }] });
  for (const name of ['currency_code', 'currencyCode']) {
    t.deepEqual((await fetchJson(`/v1/plans?${name}=RUB`)).body, { plans: [{ code: 'priced in RUB' }] });
  }
});

test('refuses unknown and repeated query parameters by name', async (t) => {
  const queries = {
    'currency=RUB': 'currency',
    'currency_code=RUB&currencyCode=EUR': 'currencyCode',
    '__proto__=1': '__proto__',
  };
  for (const [query, field] of Object.entries(queries)) {
    const answer = await fetchJson(`/v1/plans?${query}`);
    t.is(answer.status, 400, query);
    t.is(answer.body.error.details[0].reason, 'INVALID_FIELDS', query);
    t.is(answer.body.error.details[1].fieldViolations[0].field, field, query);
  }
  t.is((await fetchJson('/v1/plans/premium?code=basic')).status, 400);
});

test('refuses a path that is no UTF-8', async (t) => {
  const answer = await fetchJson('/v1/plans/%FF');
  t.is(answer.status, 400);
  t.is(answer.body.error.details[0].reason, 'MALFORMED_MESSAGE');
});

test('gives an error its HTTP status, and says when to try again', async (t) => {
  t.is((await fetchJson('/v1/plans/missing')).status, 404);
  const busy = await fetchJson('/v1/plans/busy');
  t.is(busy.status, 503);
  t.is(busy.headers.get('retry-after'), '2');
  t.is(busy.body.error.details[1].retryDelay, '1.500s');
  t.truthy(busy.headers.get('x-request-id'));
});
