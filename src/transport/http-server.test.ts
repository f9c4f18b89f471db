import { connect } from 'node:net';
import { gzipSync } from 'node:zlib';
import test from 'ava';
import { PlanService } from '@cinema-billing/gen/billing/v1/plan_service_pb.ts';
import { SubscriptionService } from '@cinema-billing/gen/billing/v1/subscription_service_pb.ts';
import { startTestTransport, type TestTransport } from '../testing/running-transport.ts';

let server: TestTransport;
const checks: Record<string, boolean> = { database: true, messages: true };

test.before(async () => {
  const answer = async () => ({});
  server = await startTestTransport(
    (router) => {
      router.add(PlanService, { listPlans: async () => ({ plans: [{ code: 'basic' }] }), getPlan: answer });
      router.add(SubscriptionService, {
        subscribe: answer,
        getSubscription: answer,
        previewSubscribe: answer,
        listSubscriptions: answer,
        listSubscriptionEvents: answer,
        cancelSubscription: answer,
        resumeSubscription: answer,
        retryPayment: answer,
        changePlan: answer,
        previewPlanChange: answer,
        listPayments: answer,
      });
    },
    { readiness: async () => checks },
  );
});
test.after.always(async () => {
  await server.stop();
});

const listPlans = '/billing.v1.PlanService/ListPlans';
const json = { 'content-type': 'application/json', 'connect-protocol-version': '1' };

async function fetchJson(path: string, init?: RequestInit) {
  const response = await fetch(server.url + path, init);
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: text === '' ? undefined : JSON.parse(text) };
}

function post(path: string, body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string>) {
  return fetchJson(path, { method: 'POST', body, headers });
}

test('answers Connect in JSON to plain fetch', async (t) => {
  const answer = await post(listPlans, '{}', json);
  t.is(answer.status, 200);
  t.deepEqual(answer.body, { plans: [{ code: 'basic' }] });
});

test('answers Connect GET for an RPC without side effects, and only for those', async (t) => {
  const query = '?connect=v1&encoding=json&message=%7B%7D';
  const answer = await fetchJson(listPlans + query);
  t.is(answer.status, 200);
  t.deepEqual(answer.body, { plans: [{ code: 'basic' }] });
  const refused = await fetchJson(`/billing.v1.SubscriptionService/CancelSubscription${query}`);
  t.is(refused.status, 405);
  t.is(refused.headers.get('allow'), 'POST');
  t.is(refused.body.error.details[0].reason, 'HTTP_METHOD_NOT_ALLOWED');
});

test('refuses Connect without its protocol header, which a foreign page cannot send', async (t) => {
  const answer = await post(listPlans, '{}', { 'content-type': 'application/json' });
  t.is(answer.status, 400);
  t.is(answer.body.code, 'invalid_argument');
  t.is(answer.body.details[0].debug.reason, 'PROTOCOL_HEADER_MISSING');
  const get = await fetchJson(`${listPlans}?encoding=json&message=%7B%7D`);
  t.is(get.status, 400);
  t.is(get.body.details[0].debug.reason, 'PROTOCOL_HEADER_MISSING');
});

test('refuses what cannot be decoded as the caller’s mistake', async (t) => {
  const binary = { ...json, 'content-type': 'application/proto' };
  const bodies: [string | Uint8Array<ArrayBuffer>, Record<string, string>][] = [
    ['{', json],
    ['[]', json],
    ['{"currencyCode":7}', json],
    [new Uint8Array([0x0a, 0x05, 0x41]), binary],
    [new Uint8Array([1, 2, 3]), { ...binary, 'content-encoding': 'gzip' }],
  ];
  for (const [body, headers] of bodies) {
    const answer = await post(listPlans, body, headers);
    t.is(answer.status, 400, String(body));
    t.is(answer.body.code, 'invalid_argument', String(body));
    t.is(answer.body.details[0].debug.reason, 'MALFORMED_MESSAGE', String(body));
    t.is(answer.body.details[0].debug.domain, 'billing', String(body));
  }
  const get = await fetchJson(`${listPlans}?connect=v1&encoding=proto&base64=1&message=%25%25`);
  t.is(get.status, 400);
  t.is(get.body.details[0].debug.reason, 'MALFORMED_MESSAGE');
});

test('says in JSON what is wrong with the JSON', async (t) => {
  const answer = await post(listPlans, '{"currencyCode":7}', json);
  t.regex(answer.body.message, /^the request cannot be decoded: .*currency_?code/i);
});

test('refuses gRPC-Web bytes that are no message in the trailer', async (t) => {
  const response = await fetch(server.url + listPlans, {
    method: 'POST',
    body: new Uint8Array([0, 0, 0, 0, 3, 0x0a, 0x05, 0x41]),
    headers: { 'content-type': 'application/grpc-web+proto' },
  });
  const text = await response.text();
  t.is(response.status, 200);
  t.true(text.includes('grpc-status: 3'));
  t.true(text.includes('grpc-status-details-bin: '));
});

test('refuses a body over 256 KiB, told by its length or not, and still answers', async (t) => {
  const large = Buffer.alloc(256 * 1024 + 1, 0x20);
  const told = await post(listPlans, large, json);
  t.is(told.status, 429);
  t.is(told.body.code, 'resource_exhausted');
  t.is(told.body.details[0].debug.reason, 'BODY_TOO_LARGE');
  const untold = await fetchJson(listPlans, {
    method: 'POST',
    headers: json,
    body: new Blob([large, large]).stream(),
    duplex: 'half',
  });
  t.is(untold.body.details[0].debug.reason, 'BODY_TOO_LARGE');
});

test('takes a message of exactly 256 KiB over Connect and gRPC-Web', async (t) => {
  // Unknown field 100 of 262,139 bytes fills the message up to the limit.
  const message = Buffer.concat([Buffer.from([0xa2, 0x06, 0xfb, 0xff, 0x0f]), Buffer.alloc(262_139)]);
  t.is(message.length, 256 * 1024);
  const overConnect = await fetch(server.url + listPlans, {
    method: 'POST',
    body: message,
    headers: { ...json, 'content-type': 'application/proto' },
  });
  t.is(overConnect.status, 200);
  const overWeb = await fetch(server.url + listPlans, {
    method: 'POST',
    body: Buffer.concat([Buffer.from([0, 0, 4, 0, 0]), message]),
    headers: { 'content-type': 'application/grpc-web+proto' },
  });
  t.true((await overWeb.text()).includes('grpc-status: 0'));
});

test('refuses a body that grows beyond 256 KiB once decompressed', async (t) => {
  const bomb = gzipSync(Buffer.alloc(50 * 1024 * 1024, 0x20));
  const answer = await post(listPlans, bomb, { ...json, 'content-encoding': 'gzip' });
  t.is(answer.status, 429);
  t.is(answer.body.details[0].debug.reason, 'BODY_TOO_LARGE');
  const head = Buffer.alloc(5);
  head[0] = 1;
  head.writeUInt32BE(bomb.length, 1);
  const web = await fetch(server.url + listPlans, {
    method: 'POST',
    body: Buffer.concat([head, bomb]),
    headers: { 'content-type': 'application/grpc-web+proto', 'grpc-encoding': 'gzip' },
  });
  t.true((await web.text()).includes('grpc-status: 8'));
});

test('refuses an unknown compression', async (t) => {
  const answer = await post(listPlans, '{}', { ...json, 'content-encoding': 'zstd' });
  t.is(answer.status, 501);
  t.is(answer.body.details[0].debug.reason, 'ENCODING_UNSUPPORTED');
});

test('refuses the types that a form of a foreign page can send', async (t) => {
  for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', '']) {
    const answer = await post(listPlans, Buffer.from('{}'), { ...json, 'content-type': type });
    t.is(answer.status, 415, type);
    t.is(answer.body.error.details[0].reason, 'MEDIA_TYPE_UNSUPPORTED', type);
  }
});

test('sees two Authorization headers as two and believes neither', async (t) => {
  const token = server.issuer.token();
  const requestLine = 'POST /billing.v1.SubscriptionService/ListSubscriptions HTTP/1.1';
  const authorization = `Authorization: Bearer ${token}`;
  const one = ['Host: x', 'Content-Type: application/json', 'Connect-Protocol-Version: 1', 'Content-Length: 2'];
  t.true((await rawHttp([requestLine, ...one, authorization], '{}')).startsWith('HTTP/1.1 200'));
  const two = await rawHttp([requestLine, ...one, authorization, authorization], '{}');
  t.true(two.startsWith('HTTP/1.1 401'));
  t.true(two.includes('TOKEN_INVALID'));
});

test('answers 431 to more than 16 KiB of headers', async (t) => {
  const answer = await rawHttp(['GET /livez HTTP/1.1', 'Host: x', `X-Long: ${'x'.repeat(17 * 1024)}`], '');
  t.true(answer.startsWith('HTTP/1.1 431'), answer);
});

test('a strange Host header or path is no error of ours', async (t) => {
  const lines = ['Content-Type: application/json', 'Connect-Protocol-Version: 1', 'Content-Length: 2'];
  const host = await rawHttp([`POST ${listPlans} HTTP/1.1`, 'Host: a b:c', ...lines], '{}');
  t.true(host.startsWith('HTTP/1.1 200'), host);
  const path = await rawHttp(['GET //[::1 HTTP/1.1', 'Host: x'], '');
  t.true(path.startsWith('HTTP/1.1 404'), path);
});

/** One request written as text; resolves with all that came back until the server or we hang up. */
function rawHttp(headerLines: string[], body: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(server.httpPort, '127.0.0.1');
    let text = '';
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => (text += chunk));
    socket.on('error', reject);
    socket.on('close', () => resolve(text));
    socket.write(`${headerLines.join('\r\n')}\r\nConnection: close\r\n\r\n${body}`);
  });
}

test('answers JSON with a reason for an unknown path', async (t) => {
  for (const path of ['/', '/v2/plans', '/billing.v1.PlanService/DropPlans', '/billing.v1.PlanService']) {
    const answer = await fetchJson(path, { method: 'POST' });
    t.is(answer.status, 404, path);
    t.deepEqual(
      answer.body,
      {
        error: {
          code: 404,
          status: 'UNIMPLEMENTED',
          message: 'nothing is served at this path',
          details: [
            { '@type': 'type.googleapis.com/google.rpc.ErrorInfo', reason: 'PATH_NOT_FOUND', domain: 'billing' },
          ],
        },
      },
      path,
    );
  }
});

test('forbids sniffing and storing on every answer', async (t) => {
  const answers = [await post(listPlans, '{}', json), await fetchJson('/nothing'), await fetchJson('/livez')];
  for (const { headers } of answers) {
    t.is(headers.get('x-content-type-options'), 'nosniff');
    t.is(headers.get('cache-control'), 'no-store');
  }
});

test.serial('readyz names each check and follows it; livez does not', async (t) => {
  const ready = await fetchJson('/readyz');
  t.is(ready.status, 200);
  t.deepEqual(ready.body, { status: 'ok', checks: { database: true, messages: true } });
  checks['messages'] = false;
  t.teardown(() => (checks['messages'] = true));
  const away = await fetchJson('/readyz');
  t.is(away.status, 503);
  t.deepEqual(away.body, { status: 'unavailable', checks: { database: true, messages: false } });
  t.is((await fetchJson('/livez')).status, 200);
  t.is((await fetchJson('/livez', { method: 'POST' })).status, 405);
});
