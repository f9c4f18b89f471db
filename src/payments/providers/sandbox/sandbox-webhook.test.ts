import test from 'ava';
import { createHmac } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { WebhookRejected } from '../../provider.ts';
import { createSandboxProvider } from './sandbox-provider.ts';
import { authenticate, readNotice } from './sandbox-webhook.ts';

const secret = 'whsec_new';
const oldSecret = 'whsec_old';
const body =
  '{"id":"evt_1","type":"payment.succeeded","data":{"payment":{"id":"pay_1","reference":"0198c0de","amount_minor":"59900"}}}';

const nowS = () => Math.floor(Date.now() / 1000);
const hmac = (t: number | string, over: string | Uint8Array = body, key = secret) =>
  createHmac('sha256', key).update(`${t}.`).update(over).digest('hex');
/** Signed as the payment system signs, over whatever time is written. */
const signed = (t: number | string, over: string | Uint8Array = body, key = secret) =>
  `t=${t},v1=${hmac(t, over, key)}`;
const check = (header: string | undefined, raw: string | Uint8Array = body, secrets = [secret]) =>
  authenticate(
    { raw: Buffer.from(raw), headers: { 'sandbox-signature': header }, remoteAddress: '127.0.0.1' },
    secrets,
  );
const wrong = '0'.repeat(64);

test('accepts what is signed with an active secret, up to five minutes old', (t) => {
  t.notThrows(() => check(signed(nowS())));
  t.notThrows(() => check(signed(nowS() - 295)), 'sent a while ago');
  t.notThrows(() => check(signed(nowS() + 295)), 'its clock is ahead');
  t.notThrows(() => check(signed(nowS()), body, [oldSecret, secret]), 'while the secret is being changed');
  t.notThrows(() => check(signed(nowS(), body, oldSecret), body, [oldSecret, secret]));
  const now = nowS();
  t.notThrows(() => check(`t=${now},${`v1=${wrong},`.repeat(7)}v1=${hmac(now)}`), 'the eighth signature fits');
});

test('the signature is HMAC-SHA256 over time, full stop and body', (t) => {
  // printf '1700000000.{"id":"evt_1"}' | openssl dgst -sha256 -hmac whsec_new
  const known = 'f3ac0c93c23f69e2e6046d7f0e2c82c93d0403de0f8651457189ab70fbbfcaae';
  t.is(hmac(1_700_000_000, '{"id":"evt_1"}'), known);
});

const headerAttacks: Record<string, () => string | undefined> = {
  'no header': () => undefined,
  'an empty header': () => '',
  'a time alone': () => `t=${nowS()}`,
  'a signature alone': () => `v1=${hmac(nowS())}`,
  'another scheme alone': () => `t=${nowS()},v0=${hmac(nowS())}`,
  'another scheme besides': () => `${signed(nowS())},v0=${wrong}`,
  'another secret': () => signed(nowS(), body, 'whsec_of_another_provider'),
  'an empty secret': () => signed(nowS(), body, ''),
  'a signature over the body without the time': () =>
    `t=${nowS()},v1=${createHmac('sha256', secret).update(body).digest('hex')}`,
  'a time other than the signed one': () => `t=${nowS() - 1},v1=${hmac(nowS() - 2)}`,
  '301 s old': () => signed(nowS() - 301),
  '305 s in the future': () => signed(nowS() + 305),
  'time zero': () => signed(0),
  'a negative time': () => signed(-nowS()),
  'a time with a plus': () => signed(`+${nowS()}`),
  'a time with a fraction': () => signed(`${nowS()}.0`),
  'a hexadecimal time': () => signed(`0x${nowS().toString(16)}`),
  'time NaN': () => signed('NaN'),
  'time 1e99': () => signed('1e99'),
  'an empty time': () => signed(''),
  'a time in milliseconds': () => signed(Date.now()),
  'a time of 13 digits': () => signed(`000${nowS()}`),
  'two times': () => `t=${nowS()},${signed(nowS())}`,
  'the header twice': () => `${signed(nowS())}, ${signed(nowS())}`,
  'the header twice, joined without a blank': () => `${signed(nowS())},${signed(nowS())}`,
  'a blank before': () => ` ${signed(nowS())}`,
  'a comma at the end': () => `${signed(nowS())},`,
  'the names in capitals': () => signed(nowS()).replace('t=', 'T=').replace('v1=', 'V1='),
  'nine signatures, the last one right': () => {
    const t = nowS();
    return `t=${t},${`v1=${wrong},`.repeat(8)}v1=${hmac(t)}`;
  },
  'fifty signatures, the last one right': () => {
    const t = nowS();
    return `t=${t},${`v1=${wrong},`.repeat(49)}v1=${hmac(t)}`;
  },
  'an upper-case signature': () => `t=${nowS()},v1=${hmac(nowS()).toUpperCase()}`,
  'a truncated signature': () => signed(nowS()).slice(0, -2),
  'a signature with a byte more': () => `${signed(nowS())}00`,
  'an empty signature': () => `t=${nowS()},v1=`,
  'a base64 signature': () => `t=${nowS()},v1=${Buffer.from(hmac(nowS()), 'hex').toString('base64')}`,
  '64 KiB': () => `${signed(nowS())},v1=${'0'.repeat(65_536)}`,
};

for (const [name, attack] of Object.entries(headerAttacks)) {
  test(`rejects ${name}`, (t) => {
    t.throws(() => check(attack()), { instanceOf: WebhookRejected });
  });
}

const bodyAttacks: Record<string, string | Uint8Array> = {
  'one byte changed': body.replace('59900', '59901'),
  'blanks added': JSON.stringify(JSON.parse(body), undefined, 1),
  'the keys in another order': body.replace(
    '"id":"evt_1","type":"payment.succeeded"',
    '"type":"payment.succeeded","id":"evt_1"',
  ),
  'a letter escaped': body.replace('evt_1', '\\u0065vt_1'),
  'a key twice': body.replace('{"id":"evt_1"', '{"id":"evt_2","id":"evt_1"'),
  'a newline at the end': `${body}\n`,
  'a byte order mark': `\u{feff}${body}`,
  gzip: gzipSync(body),
  'the last byte missing': body.slice(0, -1),
  nothing: '',
};

for (const [name, changed] of Object.entries(bodyAttacks)) {
  test(`rejects a body with another signature: ${name}`, (t) => {
    t.notDeepEqual(Buffer.from(changed), Buffer.from(body));
    t.throws(() => check(signed(nowS()), changed), { instanceOf: WebhookRejected });
    t.notThrows(() => check(signed(nowS(), changed), changed), 'it is the signature that makes the difference');
  });
}

test('a provider without a secret, or with an empty one, is not built', (t) => {
  for (const webhookSecrets of [[], [''], [secret, ''], [secret, oldSecret, 'a third']]) {
    const options = { baseUrl: 'http://127.0.0.1:1', apiKey: 'key', webhookSecrets };
    t.throws(() => createSandboxProvider(options), { message: /webhook secrets/ });
  }
});

test('reads which payment to look up, and nothing else', (t) => {
  t.deepEqual(readNotice(Buffer.from(body)), {
    eventId: 'evt_1',
    type: 'payment.succeeded',
    payment: { providerPaymentId: 'pay_1', reference: '0198c0de' },
  });
});

test('a type that is not known is about no payment', (t) => {
  for (const type of ['refund.succeeded', 'payment.flagged', 'customer.created', '__proto__']) {
    const notice = readNotice(Buffer.from(body.replace('payment.succeeded', type)));
    t.deepEqual(notice, { eventId: 'evt_1', type, payment: undefined });
  }
});

const notNotices: Record<string, string | Uint8Array> = {
  nothing: '',
  null: 'null',
  'a number': '1',
  'a list': '[]',
  'broken JSON': body.slice(0, -1),
  'JSON with a comment': `/**/${body}`,
  'a byte order mark': `\u{feff}${body}`,
  'bytes that are not UTF-8': Buffer.from(body.replace('59900', '5990\u00e9'), 'latin1'),
  'no id': body.replace('"id":"evt_1",', ''),
  'a number as its id': body.replace('"evt_1"', '1'),
  'an empty id': body.replace('"evt_1"', '""'),
  'an id of 129 characters': body.replace('evt_1', 'e'.repeat(129)),
  'an id that the database cannot store': body.replace('evt_1', String.raw`evt\u0000`),
  'half a character': body.replace('evt_1', String.raw`evt\ud800`),
  'no type': body.replace('"type":"payment.succeeded",', ''),
  'a type of 129 characters': body.replace('payment.succeeded', 'p'.repeat(129)),
  'no data': '{"id":"evt_1","type":"payment.succeeded"}',
  'no payment': '{"id":"evt_1","type":"payment.succeeded","data":{"payment":null}}',
  'a payment without an id': body.replace('"id":"pay_1",', ''),
  'a payment without a reference': body.replace('"reference":"0198c0de",', ''),
  'a payment id of 129 characters': body.replace('pay_1', 'p'.repeat(129)),
};

for (const [name, raw] of Object.entries(notNotices)) {
  test(`rejects what is not a notice: ${name}`, (t) => {
    t.notDeepEqual(Buffer.from(raw), Buffer.from(body));
    t.throws(() => readNotice(Buffer.from(raw)), { instanceOf: WebhookRejected });
  });
}
