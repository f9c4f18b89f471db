import { randomUUID } from 'node:crypto';
import { timestampDate, timestampFromDate } from '@bufbuild/protobuf/wkt';
import test from 'ava';
import type { RpcError } from '../cli/grpc-client.ts';
import { startWorld, type World } from '../testing/world.ts';

/** The world's clock stands still here. */
const now = '2027-01-15T09:00:00Z';
let world: World;
let token: string;
test.before(async () => {
  world = await startWorld({ at: now });
  token = await world.auth.token({ sub: 'auth', scope: 'billing.entitlements' });
});
test.after.always(() => world?.stop());

const grant = (productLine: string, features: string[], accessUntil: string) => ({
  product_line: productLine,
  subscription_id: randomUUID(),
  plan_code: 'basic',
  features,
  access_until: accessUntil,
  in_grace: false,
});

async function plant(userId: string, grants: object[], updatedAt = now, version = 3): Promise<string> {
  await world.query(`insert into entitlement values ($1, $2, 2, $3, $4)`, [
    userId,
    version,
    JSON.stringify(grants),
    updatedAt,
  ]);
  return userId;
}

test('a lease that has ended gives no feature, whatever is stored; at its very end it is over', async (t) => {
  const userId = await plant(randomUUID(), [
    grant('cinema', ['video.uhd', 'catalog.base'], '2027-01-15T09:00:00.001Z'),
    grant('sport', ['catalog.base', 'sport.live'], '2027-02-01T00:00:00Z'),
    grant('music', ['music.all'], now),
    grant('games', ['games.all'], '2026-12-01T00:00:00Z'),
  ]);
  const { entitlements } = world.clients();
  const { entitlement, asOf } = await entitlements.getEntitlement({ userId: userId.toUpperCase() }, { token });
  t.deepEqual(entitlement!.features, ['catalog.base', 'sport.live', 'video.uhd']);
  t.is(entitlement!.grants.length, 4);
  t.is(timestampDate(entitlement!.grants[1]!.accessUntil!).toISOString(), '2027-02-01T00:00:00.000Z');
  t.deepEqual([entitlement!.userId, entitlement!.version, entitlement!.rightsVersion], [userId, 3n, 2n]);
  t.is(timestampDate(asOf!).toISOString(), '2027-01-15T09:00:00.000Z');
  entitlements.close();
});

test('three hundred viewers asked for at once get each their own answer, those without a right among them', async (t) => {
  const asked = await Promise.all(
    Array.from({ length: 300 }, async (_, n) => {
      const userId = randomUUID();
      // Every third has nothing; the others are told apart by their version.
      if (n % 3 !== 0) await plant(userId, [grant('cinema', [`feature.${n}`], '2027-02-01T00:00:00Z')], now, n + 2);
      return { n, userId };
    }),
  );
  const { entitlements } = world.clients();
  const answers = await Promise.all(asked.map(({ userId }) => entitlements.getEntitlement({ userId }, { token })));
  for (const { n, userId } of asked) {
    const { entitlement } = answers[n]!;
    t.is(entitlement!.userId, userId);
    t.is(entitlement!.version, n % 3 === 0 ? 0n : BigInt(n + 2));
    t.deepEqual(entitlement!.features, n % 3 === 0 ? [] : [`feature.${n}`]);
  }
  entitlements.close();
});

test('an answer is never older than its question, however many others ask meanwhile', async (t) => {
  const userId = await plant(randomUUID(), [], now, 2);
  const { entitlements } = world.clients();
  const others: Promise<unknown>[] = [];
  for (let version = 3; version <= 40; version++) {
    for (let n = 0; n < 20; n++) others.push(entitlements.getEntitlement({ userId }, { token }));
    await world.query(`update entitlement set version = $2 where user_id = $1`, [userId, version]);
    const { entitlement } = await entitlements.getEntitlement({ userId }, { token });
    t.is(entitlement!.version, BigInt(version));
  }
  await Promise.all(others);
  entitlements.close();
});

test('tells what Auth was told, after a real payment', async (t) => {
  const { userId } = await world.subscriber();
  const { entitlements } = world.clients();
  const { entitlement } = await entitlements.getEntitlement({ userId }, { token });
  const [published] = await world.query(`select max(version)::int as version from outbox_message where user_id = $1`, [
    userId,
  ]);
  t.is(entitlement!.version, BigInt(published!['version'] as number));
  t.deepEqual(entitlement!.features, ['catalog.base']);
  entitlements.close();
});

test('a viewer who never had anything is no error, and has nothing', async (t) => {
  const userId = randomUUID();
  const { entitlements } = world.clients();
  const { entitlement } = await entitlements.getEntitlement({ userId }, { token });
  t.like(entitlement!, { userId, version: 0n, rightsVersion: 0n, grants: [], features: [], updatedAt: undefined });
  entitlements.close();
});

test('a batch answers each id in the order asked, the unknown and the repeated ones too', async (t) => {
  const [a, b, unknown] = [await plant(randomUUID(), []), await plant(randomUUID(), []), randomUUID()];
  const { entitlements } = world.clients();
  const answer = await entitlements.batchGetEntitlements({ userIds: [b, unknown, a.toUpperCase(), b] }, { token });
  t.deepEqual(
    answer.entitlements.map(({ userId, version }) => [userId, version]),
    [
      [b, 3n],
      [unknown, 0n],
      [a, 3n],
      [b, 3n],
    ],
  );
  const refused: string[][] = [[], Array.from({ length: 501 }, () => a), [a, 'x']];
  for (const userIds of refused) {
    const error = await t.throwsAsync(entitlements.batchGetEntitlements({ userIds }, { token }));
    t.is((error as RpcError).reason, 'INVALID_FIELDS');
  }
  entitlements.close();
});

test.serial('a walk gives everybody exactly once in the order of ids, though rows are written meanwhile', async (t) => {
  const since = '2026-06-01T00:00:00Z';
  const until = '2026-06-02T00:00:00Z';
  const id = (n: number) => `0a000000-0000-7000-8000-${String(n).padStart(12, '0')}`;
  for (let n = 10; n < 33; n++) await plant(id(n), [], n % 2 === 0 ? since : '2026-05-31T23:59:59.999Z');
  const { entitlements } = world.clients();
  const seen: string[] = [];
  let pageToken = '';
  for (let page = 0; page < 10; page++) {
    const answer = await entitlements.listEntitlements(
      { pageSize: 5, pageToken, updatedSince: timestampFromDate(new Date(since)) },
      { token },
    );
    seen.push(...answer.entitlements.map(({ userId }) => userId).filter((userId) => userId.startsWith('0a')));
    pageToken = answer.nextPageToken;
    // One behind the walk, one before it.
    if (page === 0) {
      await plant(id(1), [], until);
      await plant(id(99), [], until);
    }
    if (pageToken === '' || answer.entitlements.some(({ userId }) => userId > id(99))) break;
  }
  t.deepEqual(seen, [...[10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32].map(id), id(99)]);
  entitlements.close();
});

test('a page token fits only the walk that it is of', async (t) => {
  await plant(randomUUID(), []);
  await plant(randomUUID(), []);
  const { entitlements } = world.clients();
  const { nextPageToken } = await entitlements.listEntitlements({ pageSize: 1 }, { token });
  t.not(nextPageToken, '');
  const updatedSince = timestampFromDate(new Date('2026-06-01T00:00:00Z'));
  for (const request of [{ pageToken: nextPageToken, updatedSince }, { pageToken: 'AAAA' }]) {
    const error = await t.throwsAsync(entitlements.listEntitlements(request, { token }));
    t.is((error as RpcError).reason, 'PAGE_TOKEN_INVALID');
  }
  entitlements.close();
});

test('numbers that are no instant are the caller’s mistake', async (t) => {
  const { entitlements } = world.clients();
  for (const updatedSince of [
    { seconds: 253_402_300_800n, nanos: 0 },
    { seconds: -62_135_596_801n, nanos: 0 },
    { seconds: 2n ** 63n - 1n, nanos: 0 },
    { seconds: 0n, nanos: -1 },
    { seconds: 0n, nanos: 1_000_000_000 },
  ]) {
    const error = await t.throwsAsync(entitlements.listEntitlements({ updatedSince }, { token }));
    t.is((error as RpcError).reason, 'INVALID_FIELDS', String(updatedSince.seconds));
  }
  for (const seconds of [-62_135_596_800n, 253_402_300_799n]) {
    await t.notThrowsAsync(entitlements.listEntitlements({ updatedSince: { seconds, nanos: 0 } }, { token }));
  }
  entitlements.close();
});

test('only a service with the scope may ask, also for itself', async (t) => {
  const userId = randomUUID();
  const { entitlements } = world.clients();
  const others = [
    await world.auth.token({ sub: userId }),
    await world.auth.token({ sub: 'gateway', scope: 'billing.read billing.write' }),
    await world.auth.token({ sub: 'olga', role: 'admin' }),
  ];
  for (const other of others) {
    const calls = [
      entitlements.getEntitlement({ userId }, { token: other }),
      entitlements.batchGetEntitlements({ userIds: [userId] }, { token: other }),
      entitlements.listEntitlements({}, { token: other }),
    ];
    for (const call of calls) t.is(((await t.throwsAsync(call)) as RpcError).reason, 'PERMISSION_DENIED');
  }
  const nobody = await t.throwsAsync(entitlements.listEntitlements({}));
  t.is((nobody as RpcError).reason, 'TOKEN_MISSING');
  entitlements.close();
});
