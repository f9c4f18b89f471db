import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { pino } from 'pino';
import { BillingError } from '../lib/billing-error.ts';
import { createTestIssuer } from '../testing/tokens.ts';
import { waitUntil } from '../testing/wait-until.ts';
import { openJwks } from './jwks.ts';
import { createTokenVerifier } from './verify-token.ts';

const viewer = '0198c0de-0000-7000-8000-00000000000a';
const january = createTestIssuer();
const february = createTestIssuer();
const hourMs = 3_600_000;

const jwk = (kid: string, pem: string, more: Record<string, unknown> = {}) => ({
  ...createPublicKey(pem).export({ format: 'jwk' }),
  kid,
  ...more,
});
const januaryKey = jwk('january', january.publicKeyPem);
const februaryKey = jwk('february', february.publicKeyPem, { use: 'sig', alg: 'RS256', key_ops: ['verify'] });
const tokenOf = (kid: unknown, privateKey: KeyObject) => january.token({ sub: viewer, privateKey, header: { kid } });
const januaryToken = () => tokenOf('january', january.privateKey);
const februaryToken = () => tokenOf('february', february.privateKey);

/** Auth's key page, whose answer a test may change at any time. */
async function startKeyPage(t: ExecutionContext, keys: unknown[]) {
  const page = { body: JSON.stringify({ keys }), status: 200, asked: 0, url: '' };
  const server = createServer((_, response) => {
    page.asked += 1;
    response.writeHead(page.status, page.status === 302 ? { location: '/elsewhere' } : {}).end(page.body);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  page.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks.json`;
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return Object.assign(page, {
    publish: (...published: unknown[]) => (page.body = JSON.stringify({ keys: published })),
  });
}

async function openVerifier(
  t: ExecutionContext,
  url: string,
  times: { reloadEveryMs?: number; reloadPauseMs?: number },
) {
  const lines: Record<string, unknown>[] = [];
  const log = pino({}, { write: (line) => lines.push(JSON.parse(line) as Record<string, unknown>) });
  const keys = await openJwks({ url, reloadEveryMs: hourMs, log, ...times });
  t.teardown(() => keys.stop());
  const { issuer, audience } = january;
  const verifier = createTokenVerifier({ keys, issuer, audience, lifetimeMaxS: 3600 });
  const outcome = async (token: string) => {
    try {
      return (await verifier.verify(token)).id;
    } catch (error) {
      const { kind, reason, message } = error as BillingError;
      return `${kind} ${reason}: ${message}`;
    }
  };
  return { outcome, lines };
}
const invalid = 'unauthenticated TOKEN_INVALID: the token is not valid';

test('two keys are valid side by side, each for the tokens that name it', async (t) => {
  const page = await startKeyPage(t, [januaryKey, februaryKey]);
  const { outcome } = await openVerifier(t, page.url, {});
  t.is(await outcome(januaryToken()), viewer);
  t.is(await outcome(februaryToken()), viewer);
  t.is(await outcome(tokenOf('january', february.privateKey)), invalid);
});

const badKids: Record<string, unknown> = {
  unknown: 'march',
  missing: undefined,
  empty: '',
  'a number': 1,
  'a list': ['january'],
  'in another case': 'January',
  'a path': '../../january',
  SQL: "january' or '1'='1",
  'a name that every object has': '__proto__',
  'with a blank behind': 'january ',
};
for (const [what, kid] of Object.entries(badKids)) {
  test(`refuses a well-signed token whose kid is ${what}`, async (t) => {
    const page = await startKeyPage(t, [januaryKey]);
    const { outcome } = await openVerifier(t, page.url, {});
    t.is(await outcome(tokenOf(kid, january.privateKey)), invalid);
  });
}

test('a new key counts with the first token that names it', async (t) => {
  const page = await startKeyPage(t, [januaryKey]);
  const { outcome } = await openVerifier(t, page.url, { reloadPauseMs: 0 });
  page.publish(januaryKey, februaryKey);
  t.is(await outcome(februaryToken()), viewer);
  t.is(await outcome(januaryToken()), viewer);
});

test('a removed key ends its tokens with the next load, also those that were verified before', async (t) => {
  const page = await startKeyPage(t, [januaryKey, februaryKey]);
  const { outcome } = await openVerifier(t, page.url, { reloadEveryMs: 50 });
  const token = januaryToken();
  t.is(await outcome(token), viewer);
  page.publish(februaryKey);
  await waitUntil('the token is refused', async () => (await outcome(token)) === invalid);
  t.is(await outcome(februaryToken()), viewer);
});

test('another key under the same kid ends the tokens of the first one', async (t) => {
  const page = await startKeyPage(t, [januaryKey]);
  const { outcome } = await openVerifier(t, page.url, { reloadEveryMs: 50 });
  const token = januaryToken();
  t.is(await outcome(token), viewer);
  page.publish(jwk('january', february.publicKeyPem));
  await waitUntil('the token is refused', async () => (await outcome(token)) === invalid);
});

test('tokens with invented kids cause no load within the pause, and one for all of them after it', async (t) => {
  const page = await startKeyPage(t, [januaryKey]);
  const { outcome } = await openVerifier(t, page.url, {});
  const tokens = Array.from({ length: 100 }, (_, n) => tokenOf(`x${n}`, january.privateKey));
  t.deepEqual(new Set(await Promise.all(tokens.map(outcome))), new Set([invalid]));
  t.is(page.asked, 1);

  const { outcome: eager } = await openVerifier(t, page.url, { reloadPauseMs: 1_000 });
  t.is(page.asked, 2);
  await pause(1_100);
  await Promise.all(tokens.map(eager));
  t.is(page.asked, 3);
});

const badAnswers: Record<string, { body?: string; status?: number }> = {
  'a server error': { status: 500 },
  'a redirect': { status: 302 },
  'no JSON': { body: '<html>' },
  null: { body: 'null' },
  'another document': { body: '{"issuer":"https://auth.test"}' },
  'no key at all': { body: '{"keys":[]}' },
  'more than 16 keys': {
    body: JSON.stringify({ keys: Array.from({ length: 17 }, (_, n) => ({ ...februaryKey, kid: `k${n}` })) }),
  },
  'more than 64 KiB': { body: JSON.stringify({ keys: [februaryKey], note: 'x'.repeat(65_536) }) },
  'a key of 1024 bits': {
    body: JSON.stringify({
      keys: [
        { ...generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey.export({ format: 'jwk' }), kid: 'weak' },
      ],
    }),
  },
  'an elliptic key': {
    body: JSON.stringify({
      keys: [{ ...generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' }), kid: 'ec' }],
    }),
  },
  'a secret': { body: '{"keys":[{"kty":"oct","kid":"s","k":"c2VjcmV0"}]}' },
  'a private key': { body: JSON.stringify({ keys: [{ ...february.privateKey.export({ format: 'jwk' }), kid: 'p' }] }) },
  'a key for encryption': { body: JSON.stringify({ keys: [{ ...februaryKey, use: 'enc' }] }) },
  'a key for another algorithm': { body: JSON.stringify({ keys: [{ ...februaryKey, alg: 'PS256' }] }) },
  'a key that may only sign': { body: JSON.stringify({ keys: [{ ...februaryKey, key_ops: ['sign'] }] }) },
  'a key without kid': { body: JSON.stringify({ keys: [{ ...februaryKey, kid: undefined }] }) },
};
for (const [what, answer] of Object.entries(badAnswers)) {
  test(`a load that brings ${what} keeps the last good keys and logs an error; the first one refuses to start`, async (t) => {
    const page = await startKeyPage(t, [januaryKey]);
    const { outcome, lines } = await openVerifier(t, page.url, { reloadPauseMs: 0 });
    Object.assign(page, answer);
    t.is(await outcome(februaryToken()), invalid);
    t.is(await outcome(januaryToken()), viewer);
    t.is(
      lines.filter(({ level, msg }) => level === 50 && msg === 'token keys not loaded; the last good ones stay').length,
      1,
    );
    const first = openJwks({ url: page.url, reloadEveryMs: hourMs, log: pino({ level: 'silent' }) });
    await t.throwsAsync(first, { message: /^the token keys cannot be loaded from http:/ });
  });
}

test('keys for other purposes beside a usable one are left out', async (t) => {
  const page = await startKeyPage(t, [{ kty: 'oct', kid: 's', k: 'c2VjcmV0' }, null, 'x', januaryKey]);
  const { outcome } = await openVerifier(t, page.url, {});
  t.is(await outcome(januaryToken()), viewer);
});

test('refuses to start when nobody answers', async (t) => {
  const nowhere = openJwks({
    url: 'http://127.0.0.1:9/jwks.json',
    reloadEveryMs: hourMs,
    log: pino({ level: 'silent' }),
  });
  await t.throwsAsync(nowhere, { message: /cannot be loaded from http:\/\/127\.0\.0\.1:9\/jwks\.json/ });
});
