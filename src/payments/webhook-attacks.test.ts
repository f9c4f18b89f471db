import { createHmac } from 'node:crypto';
import { request, type OutgoingHttpHeaders } from 'node:http';
import { connect } from 'node:net';
import { gzipSync } from 'node:zlib';
import test from 'ava';
import { startWorld, type World } from '../testing/world.ts';

let world: World;
let secret: string;
test.before(async () => {
  world = await startWorld();
  secret = world.paymentSystem.webhookSecret;
});
test.after.always(() => world?.stop());

interface Answer {
  status: number;
  text: string;
}
interface Attack {
  what: string;
  /** What `Sandbox-Signature` says; undefined for no header, a list for several of them. */
  signature?: () => string | string[] | undefined;
  body?: string | Uint8Array;
  path?: string;
  method?: string;
  headers?: OutgoingHttpHeaders;
  /** 400 WEBHOOK_SIGNATURE_INVALID when left out. */
  answer?: { status: number; reason: string };
}

const path = '/v1/webhooks/sandbox';
const body =
  '{"id":"evt_attack","type":"payment.succeeded","data":{"payment":{"id":"pay_1","reference":"0198c0de","amount_minor":"59900"}}}';
const wrong = '0'.repeat(64);
const nowS = () => Math.floor(Date.now() / 1000);
const hmac = (t: number | string, over: string | Uint8Array = body, key = secret) =>
  createHmac('sha256', key).update(`${t}.`).update(over).digest('hex');
const signed = (t: number | string = nowS(), over: string | Uint8Array = body, key = secret) =>
  `t=${t},v1=${hmac(t, over, key)}`;

const notAuthentic =
  '{"error":{"code":400,"message":"the notice is not authentic","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"WEBHOOK_SIGNATURE_INVALID","domain":"billing"}],"status":"INVALID_ARGUMENT"}}';

/** Each is one cause that has to be enough; everything else about the request is right. */
const attacks: Attack[] = [
  { what: 'no signature', signature: () => undefined },
  { what: 'an empty signature header', signature: () => '' },
  { what: 'a time alone', signature: () => `t=${nowS()}` },
  { what: 'a signature alone', signature: () => `v1=${hmac(nowS())}` },
  { what: 'an older scheme alone', signature: () => `t=${nowS()},v0=${hmac(nowS())}` },
  { what: 'another secret', signature: () => signed(nowS(), body, 'whsec_of_somebody_else') },
  { what: 'the API key as the secret', signature: () => signed(nowS(), body, world.paymentSystem.apiKey) },
  { what: 'an empty secret', signature: () => signed(nowS(), body, '') },
  {
    what: 'a signature over the body without the time',
    signature: () => `t=${nowS()},v1=${createHmac('sha256', secret).update(body).digest('hex')}`,
  },
  {
    what: 'SHA-1',
    signature: () => {
      const t = nowS();
      return `t=${t},v1=${createHmac('sha1', secret).update(`${t}.${body}`).digest('hex')}`;
    },
  },
  { what: 'a time other than the signed one', signature: () => `t=${nowS()},v1=${hmac(nowS() - 1)}` },
  { what: 'a time of 305 s ago', signature: () => signed(nowS() - 305) },
  { what: 'a time 305 s ahead', signature: () => signed(nowS() + 305) },
  { what: 'time zero', signature: () => signed(0) },
  { what: 'a negative time', signature: () => signed(-nowS()) },
  { what: 'time NaN', signature: () => signed('NaN') },
  { what: 'time 1e99', signature: () => signed('1e99') },
  { what: 'an empty time', signature: () => signed('') },
  { what: 'a time in milliseconds', signature: () => signed(Date.now()) },
  { what: 'a hexadecimal time', signature: () => signed(`0x${nowS().toString(16)}`) },
  { what: 'two times', signature: () => `t=${nowS()},${signed()}` },
  { what: 'the header twice, the second one right', signature: () => [`t=${nowS()},v1=${wrong}`, signed()] },
  { what: 'the header twice, both right', signature: () => [signed(), signed()] },
  {
    what: 'fifty signatures, the last one right',
    signature: () => `t=${nowS()},${`v1=${wrong},`.repeat(12)}v1=${hmac(nowS())}`,
  },
  { what: 'a signature in capitals', signature: () => `t=${nowS()},v1=${hmac(nowS()).toUpperCase()}` },
  { what: 'a signature cut short', signature: () => signed().slice(0, -2) },
  { what: 'a signature with a byte more', signature: () => `${signed()}00` },
  {
    what: 'a signature in base64',
    signature: () => `t=${nowS()},v1=${Buffer.from(hmac(nowS()), 'hex').toString('base64')}`,
  },
  { what: 'a header of 4 KiB', signature: () => `${signed()},v1=${'0'.repeat(4_096)}` },
  { what: 'one byte of the body changed', signature: () => signed(), body: body.replace('59900', '59901') },
  { what: 'the body written anew', signature: () => signed(), body: JSON.stringify(JSON.parse(body), undefined, 1) },
  { what: 'a letter escaped', signature: () => signed(), body: body.replace('evt_', String.raw`\u0065vt_`) },
  { what: 'a key twice', signature: () => signed(), body: body.replace('{"id"', '{"id":"evt_0","id"') },
  { what: 'a newline at the end', signature: () => signed(), body: `${body}\n` },
  { what: 'a byte order mark', signature: () => signed(), body: `\u{feff}${body}` },
  { what: 'no body', signature: () => signed(), body: '' },
  {
    what: 'the signed body compressed',
    signature: () => signed(),
    body: gzipSync(body),
    headers: { 'content-encoding': 'gzip' },
  },
  { what: 'signed, and no JSON', signature: () => signed(nowS(), 'hello'), body: 'hello' },
  { what: 'signed, and a list', signature: () => signed(nowS(), '[]'), body: '[]' },
  { what: 'signed, and without an event id', ...signedBody(body.replace('"id":"evt_attack",', '')) },
  {
    what: 'signed, with an id that no database stores',
    ...signedBody(body.replace('evt_attack', String.raw`evt\u0000`)),
  },
  { what: 'signed, with a byte order mark', ...signedBody(`\u{feff}${body}`) },
  { what: 'signed, compressed', ...signedBody(gzipSync(body)), headers: { 'content-encoding': 'gzip' } },
  {
    what: 'sent to another payment system’s path',
    path: '/v1/webhooks/stripe',
    answer: { status: 404, reason: 'PROVIDER_NOT_FOUND' },
  },
  { what: 'a path above', path: '/v1/webhooks/..%2fsandbox', answer: { status: 400, reason: 'INVALID_FIELDS' } },
  { what: 'a path with a slash more', path: `${path}/`, answer: { status: 404, reason: 'PATH_NOT_FOUND' } },
  { what: 'a broken path', path: '/v1/webhooks/%ff', answer: { status: 400, reason: 'MALFORMED_MESSAGE' } },
  {
    what: 'a parameter that is not known',
    path: `${path}?tolerance=0`,
    answer: { status: 400, reason: 'INVALID_FIELDS' },
  },
  { what: 'GET', method: 'GET', answer: { status: 405, reason: 'HTTP_METHOD_NOT_ALLOWED' } },
  { what: 'PUT', method: 'PUT', answer: { status: 405, reason: 'HTTP_METHOD_NOT_ALLOWED' } },
  { what: 'OPTIONS', method: 'OPTIONS', answer: { status: 405, reason: 'HTTP_METHOD_NOT_ALLOWED' } },
  {
    what: 'from a page of another site',
    headers: { origin: 'https://evil.test' },
    answer: { status: 403, reason: 'ORIGIN_NOT_ALLOWED' },
  },
  {
    what: '256 KiB and a byte',
    ...signedBody(body.padEnd(256 * 1024 + 1)),
    answer: { status: 413, reason: 'BODY_TOO_LARGE' },
  },
];

function signedBody(over: string | Uint8Array): Pick<Attack, 'signature' | 'body'> {
  return { body: over, signature: () => signed(nowS(), over) };
}

function send(attack: Attack): Promise<Answer> {
  const header = (attack.signature ?? signed)();
  const bytes = Buffer.from(attack.body ?? body);
  const headers: OutgoingHttpHeaders = {
    'content-type': 'application/json',
    'content-length': bytes.length,
    ...(header === undefined ? {} : { 'sandbox-signature': header }),
    ...attack.headers,
  };
  return new Promise((resolve, reject) => {
    const url = world.service.httpUrl + (attack.path ?? path);
    const sent = request(url, { method: attack.method ?? 'POST', headers }, (answer) => {
      let text = '';
      answer.setEncoding('utf8');
      answer.on('data', (chunk: string) => (text += chunk));
      answer.on('end', () => resolve({ status: answer.statusCode!, text }));
    });
    sent.on('error', reject);
    sent.end(bytes);
  });
}

const notices = async () => {
  const [row] = await world.query(
    `select count(*)::int as count from webhook_event where provider_event_id like 'evt%'`,
  );
  return row!['count'];
};

test.serial('each attack gets its 4xx with a constant text, and no row is written', async (t) => {
  t.true(attacks.length >= 50);
  t.is(new Set(attacks.map(({ what }) => what)).size, attacks.length);
  const before = await notices();
  for (const attack of attacks) {
    const { status, text } = await send(attack);
    if (attack.answer === undefined) {
      t.is(status, 400, attack.what);
      t.deepEqual(JSON.parse(text), JSON.parse(notAuthentic), attack.what);
    } else {
      t.is(status, attack.answer.status, attack.what);
      t.true(text.includes(`"reason":"${attack.answer.reason}"`), `${attack.what}: ${text}`);
    }
    t.is(await notices(), before, attack.what);
  }
  t.false(world.service.log.some((line) => line.includes(secret)));
});

test.serial('more than 16 KiB of headers end the request before it is read', async (t) => {
  const before = await notices();
  const { status } = await send({ what: '', signature: () => `${signed()},v1=${'0'.repeat(16 * 1024)}` });
  t.is(status, 431);
  t.is(await notices(), before);
});

test.serial('a body that drips in is given up after ten seconds', async (t) => {
  const before = await notices();
  const { hostname, port } = new URL(world.service.httpUrl);
  const socket = connect(Number(port), hostname);
  socket.setEncoding('utf8');
  let text = '';
  socket.on('data', (chunk: string) => (text += chunk));
  const closed = new Promise((resolve) => socket.on('close', resolve));
  socket.on('error', () => undefined);
  socket.write(
    `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\nSandbox-Signature: ${signed()}\r\n\r\n`,
  );
  const startedAtMs = performance.now();
  const drip = setInterval(() => socket.write(' '), 500);
  await closed;
  clearInterval(drip);
  t.true(text.startsWith('HTTP/1.1 408'), text);
  t.true(performance.now() - startedAtMs < 15_000);
  t.is(await notices(), before);
});

test.serial(
  'the right notice is taken, once however often it comes, and one of an unknown type is kept and ignored',
  async (t) => {
    const before = Number(await notices());
    for (let n = 0; n < 3; n++) t.is((await send({ what: '' })).status, 200);
    t.is(await notices(), before + 1);
    const unknown = body.replace('payment.succeeded', 'payment.flagged').replace('evt_attack', 'evt_unknown');
    t.is((await send({ what: '', ...signedBody(unknown) })).status, 200);
    const [row] = await world.query(`select state from webhook_event where provider_event_id = 'evt_unknown'`);
    t.is(row!['state'], 'IGNORED');
  },
);
