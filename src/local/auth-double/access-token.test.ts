import test from 'ava';
import {
  createPublicKey,
  generateKeyPairSync,
  randomUUID,
  sign,
  verify,
  type webcrypto,
  type KeyObject,
} from 'node:crypto';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startAuthDouble } from '../../testing/auth-double.ts';
import { startTestNats } from '../../testing/nats.ts';
import { waitUntil } from '../../testing/wait-until.ts';
import { connectPublisher } from '../../testing/entitlement-publisher.ts';

const dataDir = mkdtempSync(join(tmpdir(), 'auth-token-'));
const nats = await startTestNats();
const publisher = await connectPublisher(nats.url);
await publisher.makeStream();
const auth = await startAuthDouble({ natsUrl: nats.url, dataDir });

test.after.always(async () => {
  await auth.stop();
  await publisher.nats.close();
  await nats.remove();
  rmSync(dataDir, { recursive: true, force: true });
});

test('signs RS256 access tokens that the published key verifies, as PEM and as a key set', async (t) => {
  const sub = randomUUID();
  const token = await auth.token({ sub });
  const [header, payload, signature] = token.split('.') as [string, string, string];
  const { keys } = (await (await fetch(`${auth.url}/.well-known/jwks.json`)).json()) as {
    keys: (webcrypto.JsonWebKey & { kid: string })[];
  };
  const published = [createPublicKey(auth.publicKeyPem), createPublicKey({ key: keys[0]!, format: 'jwk' })];
  for (const key of published) {
    t.is(key.asymmetricKeyDetails?.modulusLength, 2048);
    t.true(verify('sha256', Buffer.from(`${header}.${payload}`), key, Buffer.from(signature, 'base64url')));
  }
  t.deepEqual(decode(header), { alg: 'RS256', typ: 'at+jwt', kid: keys[0]!.kid });
  const { jti, iat, exp, ...claims } = decode(payload);
  t.deepEqual(claims, { iss: 'cinema-auth', aud: 'cinema-billing', sub, features: [] });
  t.regex(jti as string, /^[0-9a-f-]{36}$/);
  t.is((exp as number) - (iat as number), 900);
  t.true(Math.abs((iat as number) - Date.now() / 1000) < 60);
});

test('an operator has a role, a service has scopes, and neither has features', async (t) => {
  const operator = decode((await auth.token({ sub: 'olga', role: 'support' })).split('.')[1]!);
  t.is(operator['role'], 'support');
  t.false('features' in operator);
  const service = decode((await auth.token({ sub: 'gateway', scope: 'billing.read billing.write' })).split('.')[1]!);
  t.is(service['scope'], 'billing.read billing.write');
  t.false('features' in service || 'role' in service);
});

test("a viewer's token carries their features and ends no later than the earliest running lease", async (t) => {
  const sub = randomUUID();
  await publisher.publish(sub, {
    version: 1,
    rightsVersion: 1,
    grants: [
      { features: ['video.uhd', 'video.hd'], leaseMs: 120_000 },
      { features: ['catalog.premieres', 'video.hd'], leaseMs: 60_000 },
      { features: ['sport.live'], leaseMs: -1_000 },
    ],
  });
  await publisher.settle(auth);
  const claims = decode((await auth.token({ sub })).split('.')[1]!);
  t.deepEqual(claims['features'], ['catalog.premieres', 'video.hd', 'video.uhd']);
  const grants = (await auth.user(sub)).grants;
  t.is(claims['exp'], Math.floor(Date.parse(grants[1]!.access_until) / 1000));
  t.deepEqual((await auth.user(sub)).features, ['catalog.premieres', 'video.hd', 'video.uhd']);
});

test('a lease that ran out is no right, told or not', async (t) => {
  const sub = randomUUID();
  await publisher.publish(sub, { version: 1, rightsVersion: 1, grants: [{ features: ['video.uhd'], leaseMs: 1_500 }] });
  await waitUntil('the grant', async () => (await auth.user(sub)).features.length === 1);
  await waitUntil('its end', async () => (await auth.user(sub)).features.length === 0);
  t.is((await auth.user(sub)).grants.length, 1);
  const claims = decode((await auth.token({ sub })).split('.')[1]!);
  t.deepEqual(claims['features'], []);
  t.is((claims['exp'] as number) - (claims['iat'] as number), 900);
});

test('says why a token is not good', async (t) => {
  const sub = randomUUID();
  const token = await auth.token({ sub });
  const [header, payload, signature] = token.split('.') as [string, string, string];
  t.deepEqual(await auth.check(token), { active: true });
  t.deepEqual(await auth.check('nonsense'), { active: false, reason: 'malformed' });
  const otherPayload = Buffer.from(JSON.stringify({ ...decode(payload), sub: randomUUID() })).toString('base64url');
  t.deepEqual(await auth.check(`${header}.${otherPayload}.${signature}`), { active: false, reason: 'bad signature' });
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  t.deepEqual(await auth.check(`${header}.${payload}.${signWith(privateKey, `${header}.${payload}`)}`), {
    active: false,
    reason: 'bad signature',
  });
  const short = await auth.token({ sub, expiresInS: 1 });
  await waitUntil('its end', async () => !(await auth.check(short)).active);
  t.deepEqual(await auth.check(short), { active: false, reason: 'expired' });
});

test('refuses bad requests with one clear line', async (t) => {
  const sub = randomUUID();
  const cases: [body: unknown, status: number, error: string][] = [
    [{}, 400, 'sub is not a UUID in lower case'],
    [{ sub: 'olga' }, 400, 'sub is not a UUID in lower case'],
    [{ sub, role: 'emperor' }, 400, 'role is not one of read_only, support, admin'],
    [{ sub, role: 'admin', scope: 'billing.read' }, 400, 'a token has a role or a scope, not both'],
    [{ sub, scope: 'a  b' }, 400, 'scope is not a list of scopes separated by single blanks'],
    [{ sub, expires_in_s: 3_601 }, 400, 'expires_in_s is not a whole number from 1 to 3600'],
    [{ sub, expires_in_s: 0 }, 400, 'expires_in_s is not a whole number from 1 to 3600'],
    [[1], 400, 'sub is not a UUID in lower case'],
    [null, 400, 'the body is not a JSON object'],
    [{ sub, padding: 'x'.repeat(20_000) }, 400, 'the body is larger than 16384 bytes'],
  ];
  for (const [body, status, error] of cases) {
    const response = await fetch(`${auth.url}/tokens`, { method: 'POST', body: JSON.stringify(body) });
    t.is(response.status, status);
    t.deepEqual(await response.json(), { error });
  }
  t.is((await fetch(`${auth.url}/tokens`, { method: 'POST', body: '{' })).status, 400);
  t.is((await fetch(`${auth.url}/users/x`)).status, 400);
  t.is((await fetch(`${auth.url}/users/${sub}`, { method: 'DELETE' })).status, 404);
  t.is((await fetch(`${auth.url}/nothing`)).status, 404);
});

test('the private key is for its owner only, and the same after a restart: tokens outlive it', async (t) => {
  const ownDir = mkdtempSync(join(tmpdir(), 'auth-key-'));
  const first = await startAuthDouble({ natsUrl: nats.url, dataDir: ownDir });
  t.is(statSync(join(ownDir, 'signing-key.pem')).mode & 0o777, 0o600);
  const token = await first.token({ sub: randomUUID() });
  await first.kill();
  const second = await startAuthDouble({ natsUrl: nats.url, dataDir: ownDir });
  t.is(second.publicKeyPem, first.publicKeyPem);
  t.deepEqual(await second.check(token), { active: true });
  await second.stop();
  rmSync(ownDir, { recursive: true, force: true });
});

function signWith(key: KeyObject, input: string): string {
  return sign('sha256', Buffer.from(input), key).toString('base64url');
}

function decode(part: string): Record<string, unknown> {
  return JSON.parse(Buffer.from(part, 'base64url').toString()) as Record<string, unknown>;
}
