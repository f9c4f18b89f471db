import { request } from 'node:http';
import test from 'ava';
import { PlanService } from '@cinema-billing/gen/billing/v1/plan_service_pb.ts';
import { startTestTransport, type TestTransport } from '../testing/running-transport.ts';

const shop = 'https://shop.cinema';
const listPlans = '/billing.v1.PlanService/ListPlans';
let server: TestTransport;
let called = 0;

test.before(async () => {
  const plans = async () => {
    called += 1;
    return {};
  };
  server = await startTestTransport((router) => router.add(PlanService, { listPlans: plans, getPlan: plans }), {
    corsOrigins: new Set([shop, 'http://localhost:5173']),
  });
});
test.after.always(async () => {
  await server.stop();
});

interface Answer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  text: string;
}

/** fetch would not send these headers. */
function send(method: string, path: string, headers: Record<string, string>, body = ''): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request(server.url + path, { method, headers }, (answer) => {
      let text = '';
      answer.setEncoding('utf8');
      answer.on('data', (chunk: string) => (text += chunk));
      answer.on('end', () => resolve({ status: answer.statusCode!, headers: answer.headers, text }));
    });
    sent.on('error', reject);
    sent.end(body);
  });
}
const call = (headers: Record<string, string>) =>
  send('POST', listPlans, { 'content-type': 'application/json', 'connect-protocol-version': '1', ...headers }, '{}');

test.serial('a page of a configured origin may call and read the answer', async (t) => {
  const { status, headers } = await call({ origin: shop });
  t.is(status, 200);
  t.is(headers['access-control-allow-origin'], shop);
  t.regex(String(headers['access-control-expose-headers']), /grpc-status-details-bin/);
  t.is(headers['access-control-allow-credentials'], undefined);
  t.is(headers['vary'], 'origin');
});

test.serial('a preflight lists exactly what clients need, and calls nothing', async (t) => {
  const before = called;
  const { status, headers, text } = await send('OPTIONS', listPlans, {
    origin: shop,
    'access-control-request-method': 'POST',
    'access-control-request-headers': 'authorization,content-type,connect-protocol-version',
  });
  t.is(status, 204);
  t.is(text, '');
  t.is(headers['access-control-allow-origin'], shop);
  t.is(headers['access-control-allow-methods'], 'GET, POST');
  t.is(
    headers['access-control-allow-headers'],
    'authorization, content-type, connect-protocol-version, connect-timeout-ms, grpc-timeout, x-grpc-web, x-user-agent, x-request-id, traceparent',
  );
  t.is(called, before);
});

const foreign = {
  'another site': 'https://evil.test',
  'a sandboxed frame': 'null',
  'a name that begins like ours': 'https://shop.cinema.evil.test',
  'a name that ends like ours': 'https://evilshop.cinema',
  'a subdomain': 'https://a.shop.cinema',
  'the same name without TLS': 'http://shop.cinema',
  'another port': 'https://shop.cinema:8443',
  'a path behind it': 'https://shop.cinema/',
  'two origins': `${shop} ${shop}`,
  'another port of this machine': 'http://127.0.0.1:1',
  'no origin at all in the header': '',
};
for (const [what, origin] of Object.entries(foreign)) {
  test.serial(`refuses calls and preflights from ${what}, before the method`, async (t) => {
    const before = called;
    const asked = { origin, 'access-control-request-method': 'POST' };
    for (const answer of [await call({ origin }), await send('OPTIONS', listPlans, asked)]) {
      t.is(answer.status, 403);
      t.is(answer.headers['access-control-allow-origin'], undefined);
      t.true(answer.text.includes('"ORIGIN_NOT_ALLOWED"'));
    }
    t.is((await send('GET', '/v1/plans', { origin })).status, 403);
    t.is(called, before);
  });
}

test.serial('pages that this server serves itself may call', async (t) => {
  const { status, headers } = await call({ origin: server.url });
  t.is(status, 200);
  t.is(headers['access-control-allow-origin'], undefined);
  t.is(
    (await call({ origin: 'https://billing.cinema', host: 'billing.cinema' })).status,
    200,
    'behind a proxy with TLS',
  );
});

test.serial('every answer forbids sniffing, storing, framing and referrers', async (t) => {
  const answers = [
    await call({}),
    await call({ origin: 'https://evil.test' }),
    await send('GET', '/nothing', {}),
    await send('GET', '/livez', {}),
  ];
  for (const { headers } of answers) {
    t.is(headers['x-content-type-options'], 'nosniff');
    t.is(headers['cache-control'], 'no-store');
    t.is(headers['content-security-policy'], "default-src 'none'; frame-ancestors 'none'");
    t.is(headers['referrer-policy'], 'no-referrer');
    t.is(headers['strict-transport-security'], undefined, 'in clear text it would mean nothing');
  }
});
