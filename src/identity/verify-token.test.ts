import { createHmac, generateKeyPairSync, sign, constants } from 'node:crypto';
import test from 'ava';
import { BillingError } from '../lib/billing-error.ts';
import { createTestIssuer, signJwt } from '../testing/tokens.ts';
import { fixedKey } from './token-keys.ts';
import { createTokenVerifier } from './verify-token.ts';

const auth = createTestIssuer();
const other = createTestIssuer();
const options = {
  keys: fixedKey(auth.publicKeyPem),
  issuer: auth.issuer,
  audience: auth.audience,
  lifetimeMaxS: 3600,
};
const verifier = createTokenVerifier(options);
const viewer = '0198c0de-0000-7000-8000-00000000000a';
const nowS = Math.floor(Date.now() / 1000);

const goodClaims = { iss: auth.issuer, aud: auth.audience, sub: viewer, iat: nowS, exp: nowS + 300 };
const goodHeader = { alg: 'RS256', typ: 'at+jwt' };
const good = auth.token({ sub: viewer });
const [goodHead, goodBody, goodSignature] = good.split('.') as [string, string, string];

const b64 = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

function withClaims(claims: Record<string, unknown>): string {
  return auth.token({ sub: viewer, claims });
}
function withHeader(header: Record<string, unknown>): string {
  return auth.token({ sub: viewer, header });
}
/** Same parts, another signature. */
function signedBy(header: object, signer: (input: string) => Buffer): string {
  const input = `${b64(header)}.${b64(goodClaims)}`;
  return `${input}.${signer(input).toString('base64url')}`;
}
const hmac = (secret: string | Buffer) => (input: string) => createHmac('sha256', secret).update(input).digest();
const derOfKey = Buffer.from(auth.publicKeyPem.replaceAll(/-----[^-]+-----|\s/g, ''), 'base64');
const ecKey = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;

const badTokens: Record<string, string> = {
  empty: '',
  'alg none, no signature': `${b64({ alg: 'none' })}.${goodBody}.`,
  'alg nOnE': `${b64({ alg: 'nOnE' })}.${goodBody}.`,
  'alg none with the old signature': `${b64({ alg: 'none' })}.${goodBody}.${goodSignature}`,
  'HS256 with the PEM as the secret': signedBy({ alg: 'HS256' }, hmac(auth.publicKeyPem)),
  'HS256 with the DER as the secret': signedBy({ alg: 'HS256' }, hmac(derOfKey)),
  'HS256 with an empty secret': signedBy({ alg: 'HS256' }, hmac('')),
  'PS256 with the right key': signedBy({ alg: 'PS256' }, (input) =>
    sign('sha256', Buffer.from(input), {
      key: auth.privateKey,
      padding: constants.RSA_PKCS1_PSS_PADDING,
      saltLength: 32,
    }),
  ),
  'RS512 with the right key': signedBy({ alg: 'RS512' }, (input) =>
    sign('sha512', Buffer.from(input), auth.privateKey),
  ),
  'ES256 with another key': signedBy({ alg: 'ES256' }, (input) =>
    sign('sha256', Buffer.from(input), { key: ecKey, dsaEncoding: 'ieee-p1363' }),
  ),
  'no alg': withHeader({ alg: undefined }),
  'alg as an array': withHeader({ alg: ['RS256'] }),
  'another RSA key': auth.token({ sub: viewer, privateKey: other.privateKey }),
  'another RSA key, embedded as jwk': auth.token({
    sub: viewer,
    privateKey: other.privateKey,
    header: { jwk: { kty: 'RSA', e: 'AQAB', n: 'sXch' } },
  }),
  'unknown crit': withHeader({ crit: ['x-ours'], 'x-ours': true }),
  'empty crit': withHeader({ crit: [] }),
  'b64 false': withHeader({ b64: false, crit: ['b64'] }),
  'b64 false outside crit': withHeader({ b64: false }),
  'typ of a refresh token': withHeader({ typ: 'refresh+jwt' }),
  'typ of a logout token': withHeader({ typ: 'logout+jwt' }),
  'typ as a number': withHeader({ typ: 1 }),
  expired: auth.token({ sub: viewer, expiresInS: -10 }),
  'no exp': withClaims({ exp: undefined }),
  'exp as a string': withClaims({ exp: String(nowS + 300) }),
  'exp not finite': signJwt(
    JSON.stringify(goodHeader),
    JSON.stringify(goodClaims).replace(`"exp":${nowS + 300}`, '"exp":1e999'),
    auth.privateKey,
  ),
  'exp before iat': withClaims({ iat: nowS + 3, exp: nowS + 2 }),
  'no iat': withClaims({ iat: undefined }),
  'iat as a string': withClaims({ iat: String(nowS) }),
  'iat in the future': withClaims({ iat: nowS + 60 }),
  'nbf in the future': withClaims({ nbf: nowS + 60 }),
  'nbf as a string': withClaims({ nbf: String(nowS) }),
  'ten years of life': withClaims({ exp: nowS + 315_360_000 }),
  'one second too much life': withClaims({ iat: nowS, exp: nowS + 3601 }),
  'another issuer': withClaims({ iss: 'https://elsewhere.test' }),
  'a prefix of the issuer': withClaims({ iss: 'https://auth' }),
  'an array of issuers': withClaims({ iss: [auth.issuer] }),
  'no issuer': withClaims({ iss: undefined }),
  'another audience': withClaims({ aud: 'shop' }),
  'other audiences': withClaims({ aud: ['shop', 'web'] }),
  'no audience': withClaims({ aud: undefined }),
  'no sub': auth.token({ sub: undefined }),
  'empty sub': auth.token({ sub: '' }),
  'number sub': auth.token({ sub: 7 }),
  'array sub': auth.token({ sub: [viewer] }),
  'null sub': auth.token({ sub: null }),
  'sub of a customer that is no UUID': auth.token({ sub: 'alice' }),
  'sub with a line break': auth.token({ sub: `${viewer}\n` }),
  'operator without a name': auth.token({ sub: '', role: 'admin' }),
  'operator name with a blank': auth.token({ sub: 'a b', role: 'admin' }),
  'unknown role': auth.token({ role: 'root' }),
  'role as an array': auth.token({ role: ['admin'] }),
  'role null': auth.token({ role: null }),
  'role in another case': auth.token({ role: 'ADMIN' }),
  'scope as an array': auth.token({ scope: ['billing.read'] }),
  'empty scope': auth.token({ scope: '' }),
  'scope with two blanks': auth.token({ scope: 'billing.read  billing.write' }),
  'role and scope': auth.token({ sub: 'gateway', role: 'admin', scope: 'billing.read' }),
  'role by __proto__': signJwt(
    JSON.stringify(goodHeader),
    JSON.stringify(goodClaims).replace('{', '{"__proto__":{"role":"admin"},'),
    auth.privateKey,
  ),
  'payload changed': `${goodHead}.${b64({ ...goodClaims, sub: '0198c0de-0000-7000-8000-00000000000b' })}.${goodSignature}`,
  'one bit of the signature flipped': `${goodHead}.${goodBody}.${flipFirst(goodSignature)}`,
  'signature cut short': good.slice(0, -8),
  'empty signature': `${goodHead}.${goodBody}.`,
  'two parts': `${goodHead}.${goodBody}`,
  'four parts': `${good}.${goodSignature}`,
  'five parts, like a JWE': `${good}.AAAA.AAAA`,
  padded: `${good}==`,
  'a blank inside': good.replace('.', ' .'),
  'a line break at the end': `${good}\n`,
  'payload that is no JSON': signJwt(JSON.stringify(goodHeader), 'hello', auth.privateKey),
  'payload that is an array': signJwt(JSON.stringify(goodHeader), '[]', auth.privateKey),
  'payload null': signJwt(JSON.stringify(goodHeader), 'null', auth.privateKey),
  'header that is an array': signJwt('[]', JSON.stringify(goodClaims), auth.privateKey),
  'longer than 8 KiB': withClaims({ note: 'x'.repeat(8192) }),
};

function flipFirst(text: string): string {
  return (text[0] === 'A' ? 'B' : 'A') + text.slice(1);
}

for (const [what, token] of Object.entries(badTokens)) {
  test(`refuses a bad token with the one constant text: ${what}`, async (t) => {
    const error = await t.throwsAsync(verifier.verify(token), { instanceOf: BillingError });
    t.is(error?.kind, 'unauthenticated');
    t.is(error?.reason, 'TOKEN_INVALID');
    t.is(error?.message, 'the token is not valid');
    t.deepEqual(error?.metadata, {});
  });
}

test('reads a customer from a token with neither role nor scope', async (t) => {
  t.deepEqual(await verifier.verify(good), { kind: 'customer', id: viewer });
});

test('reads a viewer’s address, unless Auth says that it is not verified; nonsense is as good as none', async (t) => {
  const named = { kind: 'customer', id: viewer, email: 'anna@cinema.test' };
  const email = 'anna@cinema.test';
  t.deepEqual(await verifier.verify(auth.token({ claims: { sub: viewer, email } })), named);
  t.deepEqual(await verifier.verify(auth.token({ claims: { sub: viewer, email, email_verified: true } })), named);
  const nonsense = [5, '', 'anna', 'a@b@c', 'an na@cinema.test', `${'a'.repeat(65)}@cinema.test`, { email }];
  for (const claims of [{ email, email_verified: false }, ...nonsense.map((one) => ({ email: one }))]) {
    t.deepEqual(await verifier.verify(auth.token({ claims: { sub: viewer, ...claims } })), {
      kind: 'customer',
      id: viewer,
    });
  }
});

test('writes a customer id in lower case', async (t) => {
  t.deepEqual(await verifier.verify(auth.token({ sub: viewer.toUpperCase() })), { kind: 'customer', id: viewer });
});

test('reads an operator from role', async (t) => {
  const token = auth.token({ sub: 'olga@cinema.test', role: 'support' });
  t.deepEqual(await verifier.verify(token), { kind: 'operator', id: 'olga@cinema.test', role: 'support' });
});

test('reads a service from scope', async (t) => {
  const token = auth.token({ sub: 'gateway', scope: 'billing.read billing.write' });
  t.deepEqual(await verifier.verify(token), {
    kind: 'service',
    id: 'gateway',
    scopes: ['billing.read', 'billing.write'],
  });
});

test('accepts typ at+jwt, application/at+jwt, JWT and none', async (t) => {
  for (const typ of ['at+jwt', 'AT+JWT', 'application/at+jwt', 'JWT', undefined]) {
    t.is((await verifier.verify(auth.token({ sub: viewer, header: { typ } }))).kind, 'customer', String(typ));
  }
});

test('accepts an audience list that names us, unknown claims, and a key id', async (t) => {
  const token = auth.token({
    sub: viewer,
    header: { kid: '../../etc/passwd' },
    claims: { aud: ['web', 'billing'], email: 'a@b.test', roles: ['x'] },
  });
  t.is((await verifier.verify(token)).id, viewer);
});

test('allows five seconds between the clocks, not ten', async (t) => {
  t.is((await verifier.verify(auth.token({ sub: viewer, expiresInS: -2 }))).id, viewer);
  t.is((await verifier.verify(withClaims({ iat: nowS + 3 }))).id, viewer);
  await t.throwsAsync(verifier.verify(auth.token({ sub: viewer, expiresInS: -10 })));
});

test('asks for no audience only when told so, and still checks everything else', async (t) => {
  const open = createTokenVerifier({ ...options, audience: undefined });
  t.is((await open.verify(withClaims({ aud: undefined }))).id, viewer);
  t.is((await open.verify(withClaims({ aud: 'shop' }))).id, viewer);
  await t.throwsAsync(open.verify(withClaims({ aud: undefined, iss: 'https://elsewhere.test' })));
});

test('a token seen before is still refused once it has expired', async (t) => {
  const expiresAtS = Math.ceil(Date.now() / 1000) - 3;
  // Inside the tolerance of five seconds now, outside it within three seconds.
  const token = withClaims({ iat: expiresAtS - 60, exp: expiresAtS });
  t.is((await verifier.verify(token)).id, viewer);
  const giveUpAtMs = Date.now() + 10_000;
  let refused = false;
  while (!refused && Date.now() < giveUpAtMs) {
    refused = await verifier.verify(token).then(
      () => false,
      () => true,
    );
    if (!refused) await new Promise((resolve) => setTimeout(resolve, 100));
  }
  t.true(refused);
});

test('a cached token answers the same actor, and a changed copy of it is refused', async (t) => {
  const token = auth.token({ sub: viewer });
  t.deepEqual(await verifier.verify(token), await verifier.verify(token));
  await t.throwsAsync(verifier.verify(`${token.slice(0, -4)}AAAA`));
});

test('refuses a weak, a foreign or a private key, an empty issuer and an empty audience', (t) => {
  const weak = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey;
  const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey;
  const refused = [
    weak.export({ type: 'spki', format: 'pem' }).toString(),
    ec.export({ type: 'spki', format: 'pem' }).toString(),
    auth.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    'no key at all',
    '',
  ];
  for (const publicKeyPem of refused) t.throws(() => fixedKey(publicKeyPem));
  t.throws(() => createTokenVerifier({ ...options, issuer: '' }));
  t.throws(() => createTokenVerifier({ ...options, audience: '' }));
});
