import { fromBinary } from '@bufbuild/protobuf';
import {
  EntitlementChangedSchema,
  EntitlementChangeKind,
} from '@cinema-billing/gen/billing/events/v1/entitlement_changed_pb.ts';
import test from 'ava';
import { sql } from 'kysely';
import { randomUUID } from 'node:crypto';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { startAuthDouble } from '../testing/auth-double.ts';
import { encodeChange } from '../testing/entitlement-publisher.ts';
import { startOutboxWorld, type OutboxWorld } from '../testing/outbox.ts';
import { waitUntil } from '../testing/wait-until.ts';

const worlds: { stop(): Promise<unknown> }[] = [];
test.after.always(async () => {
  for (const world of worlds.toReversed()) await world.stop();
});

async function start(): Promise<OutboxWorld> {
  const world = await startOutboxWorld();
  worlds.push(world);
  return world;
}

async function startAuth(world: OutboxWorld) {
  const auth = await startAuthDouble({ natsUrl: world.nats.url });
  worlds.push(auth);
  return auth;
}

const users = (count: number): string[] => Array.from({ length: count }, () => randomUUID());
const execute = (world: OutboxWorld, statement: ReturnType<typeof sql>) =>
  statement.execute(world.orm.em.fork().getKysely());

test('publishes every change in order per user, and marks it with its place in the stream', async (t) => {
  const world = await start();
  const some = users(20);
  for (const version of [1, 2, 3]) for (const userId of some) await world.enqueue(userId, version);
  const relay = world.relay();
  await world.drained();

  const stored = await world.stored();
  t.is(stored.length, 60);
  for (const userId of some) {
    t.deepEqual(
      stored.filter((one) => one.userId === userId).map((one) => one.version),
      [1, 2, 3],
    );
  }
  const { rows } = await execute(world, sql`select event_id, stream_sequence::int as sequence from outbox_message`);
  const marked = Object.fromEntries(
    (rows as { event_id: string; sequence: number }[]).map((row) => [row.event_id, row.sequence]),
  );
  t.deepEqual(
    marked,
    Object.fromEntries(stored.map(({ message }) => [message.header.get('Nats-Msg-Id'), message.seq])),
  );
  t.like(relay.status(), {
    connected: true,
    holdsLock: true,
    lastError: undefined,
    publishedCount: 60,
    refusedCount: 0,
  });
});

test('a message carries the whole state, its id, the fence and the CloudEvents attributes', async (t) => {
  const world = await start();
  const userId = randomUUID();
  const grant = {
    product_line: 'cinema',
    subscription_id: '01990000-0000-7000-8000-00000000000a',
    plan_code: 'premium',
    features: ['video.uhd', 'catalog.premieres'],
    access_until: '2027-03-03T12:00:00.123Z',
    in_grace: true,
  };
  await world.enqueue(userId, 1);
  await world.enqueue(userId, 2, {
    rightsVersion: 2n,
    kind: 'GRACE_STARTED',
    reason: 'CARD_DECLINED',
    occurredAt: Temporal.Instant.from('2027-02-28T11:22:33.456Z'),
    grants: [grant],
  });
  world.relay();
  await world.drained();

  const [first, second] = await world.stored();
  t.is(second!.message.subject, `billing.entitlements.v1.${userId}`);
  const { header } = second!.message;
  const { rows } = await execute(world, sql`select event_id from outbox_message where version = 2`);
  const eventId = (rows as { event_id: string }[])[0]!.event_id;
  t.deepEqual(Object.fromEntries(header.keys().map((key) => [key, header.get(key)])), {
    'Nats-Msg-Id': eventId,
    'Nats-Expected-Stream': 'BILLING_ENTITLEMENTS',
    'Nats-Expected-Last-Subject-Sequence': String(first!.message.seq),
    'Content-Type': 'application/protobuf',
    'ce-specversion': '1.0',
    'ce-id': eventId,
    'ce-source': '/cinema-billing',
    'ce-type': 'billing.events.v1.EntitlementChanged',
    'ce-subject': userId,
    'ce-time': '2027-02-28T11:22:33.456Z',
  });
  const { $typeName: _, ...event } = fromBinary(EntitlementChangedSchema, second!.message.data);
  t.like(event, { eventId, userId, version: 2n, rightsVersion: 2n, reason: 'CARD_DECLINED', traceparent: '' });
  t.is(event.kind, EntitlementChangeKind.GRACE_STARTED);
  t.is(event.occurredAt?.seconds, BigInt(Date.parse('2027-02-28T11:22:33Z') / 1000));
  t.is(event.occurredAt?.nanos, 456_000_000);
  t.is(event.grants.length, 1);
  t.like(event.grants[0], {
    productLine: 'cinema',
    subscriptionId: '01990000-0000-7000-8000-00000000000a',
    planCode: 'premium',
    features: ['video.uhd', 'catalog.premieres'],
    inGrace: true,
  });
  t.is(event.grants[0]!.accessUntil?.seconds, BigInt(Date.parse('2027-03-03T12:00:00Z') / 1000));
  t.is(event.grants[0]!.accessUntil?.nanos, 123_000_000);
});

test('a crash between ack and mark sends nothing twice, inside the duplicate window and after it', async (t) => {
  const world = await start();
  const duplicateWindowMs = 5_000;
  await world.manager.streams.add({
    name: 'BILLING_ENTITLEMENTS',
    subjects: ['billing.entitlements.v1.>'],
    duplicate_window: duplicateWindowMs * 1_000_000,
  });
  const auth = await startAuth(world);
  const some = users(10);
  for (const version of [1, 2]) for (const userId of some) await world.enqueue(userId, version);
  const relay = world.relay();
  await world.drained();
  const [userId] = some;
  await waitUntil('Auth', async () => (await auth.user(userId!)).version === 2);
  const token = await auth.token({ sub: userId! });
  const before = await world.stored();

  await execute(world, sql`update outbox_message set published_at = null, stream_sequence = null where version = 2`);
  relay.wake();
  await world.drained();
  await delay(duplicateWindowMs * 1.5);
  t.is(relay.status().refusedCount, 0);
  await execute(world, sql`update outbox_message set published_at = null, stream_sequence = null`);
  relay.wake();
  await world.drained();

  t.true(relay.status().refusedCount > 0, 'after the window only the fence stands');
  t.deepEqual(
    (await world.stored()).map(({ message }) => message.seq),
    before.map(({ message }) => message.seq),
  );
  t.deepEqual(await auth.check(token), { active: true });
  // What comes next finds its place behind what was marked anew.
  await world.enqueue(userId!, 3);
  relay.wake();
  await waitUntil('the next', async () => (await auth.user(userId!)).version === 3);
});

test('NATS away for 20 changes: nothing fails, and when it is back Auth equals the database', async (t) => {
  const world = await start();
  const auth = await startAuth(world);
  const some = users(10);
  for (const userId of some) await world.enqueue(userId, 1);
  const relay = world.relay();
  await world.drained();
  await world.nats.kill();
  for (const version of [2, 3]) {
    for (const userId of some) {
      await world.enqueue(userId, version, { rightsVersion: BigInt(version) });
      relay.wake();
    }
  }
  await waitUntil('the relay to notice', () => !relay.status().connected);
  t.is(await world.unpublished(), 20);
  await world.nats.start();
  await world.drained();
  await waitUntil('Auth', async () => (await auth.users()).filter((user) => user.version === 3).length === 10);
  t.deepEqual(
    (await auth.users()).map((user) => user.user_id),
    some.sort(),
  );
  t.is((await world.stored()).length, 30);
  t.like(relay.status(), { connected: true, lastError: undefined });
});

test('NATS that hangs and then answers late: what timed out is not stored twice', async (t) => {
  const world = await start();
  const some = users(5);
  for (const userId of some) await world.enqueue(userId, 1);
  const relay = world.relay();
  await world.drained();
  world.nats.pause();
  for (const userId of some) await world.enqueue(userId, 2);
  relay.wake();
  await waitUntil('the time-out', () => relay.status().lastError?.includes('timeout'));
  world.nats.resume();
  await world.drained();
  const stored = await world.stored();
  t.deepEqual(
    stored.map((one) => one.userId + one.version).sort(),
    some.flatMap((userId) => [userId + 1, userId + 2]).sort(),
  );
});

test('the stream lost with its directory: the current state of every user is published again', async (t) => {
  const world = await start();
  const [quiet, busy] = users(2) as [string, string];
  for (const userId of [quiet, busy]) for (const version of [1, 2]) await world.enqueue(userId, version);
  const relay = world.relay();
  await world.drained();
  await world.nats.kill();
  rmSync(join(world.nats.storeDir, 'jetstream'), { recursive: true });
  await world.enqueue(busy, 3);
  await world.enqueue(busy, 4);
  await world.nats.start();

  // Auth had read none of it: all it can know comes from what is published again.
  const auth = await startAuth(world);
  await waitUntil('Auth', async () => (await auth.user(quiet)).version === 2 && (await auth.user(busy)).version === 4);
  await world.drained();
  t.deepEqual((await auth.user(quiet)).grants[0]?.plan_code, 'plan-2');
  t.true(world.logged.some((line) => line.alarm === 'STREAM_LOST_DATA'));
  const versions = (await world.stored()).filter((one) => one.userId === busy).map((one) => one.version);
  t.is(versions.at(-1), 4);
  t.deepEqual(versions, versions.toSorted());
  // And from there it goes on as ever.
  const refusedBefore = relay.status().refusedCount;
  for (const [userId, version] of [
    [quiet, 3],
    [busy, 5],
  ] as const)
    await world.enqueue(userId, version);
  relay.wake();
  await waitUntil('Auth', async () => (await auth.user(quiet)).version === 3 && (await auth.user(busy)).version === 5);
  t.is(relay.status().refusedCount, refusedBefore);
});

test('messages lost from the end of the stream are published again', async (t) => {
  const world = await start();
  await world.manager.streams.add({ name: 'BILLING_ENTITLEMENTS', subjects: ['billing.entitlements.v1.>'] });
  const userId = randomUUID();
  for (const version of [1, 2, 3]) await world.enqueue(userId, version);
  const relay = world.relay();
  await world.drained();
  for (const seq of [2, 3]) await world.manager.streams.deleteMessage('BILLING_ENTITLEMENTS', seq);
  await world.enqueue(userId, 4);
  relay.wake();
  await world.drained();
  t.deepEqual(
    (await world.stored()).map((one) => one.version),
    [1, 4],
  );
  t.true(world.logged.some((line) => line.alarm === 'STREAM_LOST_DATA'));
});

test('a stream that knows a change the database does not is left to a person, and holds nobody else up', async (t) => {
  const world = await start();
  const [userId, other] = users(2) as [string, string];
  await world.enqueue(userId, 1);
  const relay = world.relay();
  await world.drained();
  const foreign = encodeChange(userId, { version: 2, rightsVersion: 1 });
  await world.manager.jetstream().publish(`billing.entitlements.v1.${userId}`, foreign);
  await world.enqueue(userId, 2);
  await world.enqueue(other, 1);
  relay.wake();
  await waitUntil('the refusal', () => relay.status().lastError?.includes('unknown to the database'));
  await waitUntil('the others', async () => (await world.unpublished()) === 1);
  t.is((await world.stored()).filter((one) => one.userId === userId).length, 2);
});

test('a stream that would lose messages is refused by name, until it is put right', async (t) => {
  const world = await start();
  const config = { name: 'BILLING_ENTITLEMENTS', subjects: ['billing.entitlements.v1.>'] };
  await world.manager.streams.add({ ...config, max_age: 3_600_000_000_000 });
  await world.enqueue(randomUUID(), 1);
  const relay = world.relay();
  await waitUntil('the refusal', () => relay.status().lastError?.includes('it has a max age'));
  t.is(await world.unpublished(), 1);
  await world.manager.streams.update('BILLING_ENTITLEMENTS', { ...config, max_age: 0 });
  await world.drained();
});

test('one relay works, the other stands by and takes over when the first loses its session', async (t) => {
  const world = await start();
  const [first, second] = [world.relay(), world.relay()];
  const holders = () => [first, second].filter((relay) => relay.status().holdsLock);
  await waitUntil('one to hold the lock', () => holders().length === 1);
  await waitUntil('both to be connected', () => [first, second].every((relay) => relay.status().connected));
  const [holder] = holders();
  await world.enqueue(randomUUID(), 1);
  await world.drained();
  t.is(holder!.status().publishedCount, 1);

  await execute(
    world,
    sql`
    select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and classid = 7405 and objid = 3
      and database = (select oid from pg_database where datname = current_database())`,
  );
  await waitUntil('the loss to be noticed', () => !holder!.status().holdsLock);
  await waitUntil('one to hold the lock', () => holders().length === 1);
  await holders()[0]!.stop();
  await waitUntil('the other to hold the lock', () => holders().length === 1);
  await world.enqueue(randomUUID(), 1);
  await world.drained();
  t.is(first.status().publishedCount + second.status().publishedCount, 2);
});

test.serial('wake() spares the wait for the next poll', async (t) => {
  const world = await start();
  const relay = world.relay();
  await waitUntil('the lock', () => relay.status().holdsLock && relay.status().connected);
  const userId = randomUUID();
  let waitedMs = 0;
  for (let version = 1; version <= 4; version++) {
    // Long enough for the poll to have slowed down to 2 s.
    await delay(1_000);
    await world.enqueue(userId, version);
    const since = performance.now();
    relay.wake();
    await waitUntil('the message', () => relay.status().publishedCount === version);
    waitedMs += performance.now() - since;
  }
  t.true(waitedMs < 1_000, `${waitedMs} ms for four messages`);
});

test('stops within its bound whatever is away, and finishes the batch in flight', async (t) => {
  const world = await start();
  const absent = world.relay({ natsUrl: 'nats://127.0.0.1:1' });
  await waitUntil('its first try', () => absent.status().lastError !== undefined);
  await absent.stop();
  t.is(absent.status().holdsLock, false);

  for (const userId of users(300)) await world.enqueue(userId, 1);
  const relay = world.relay();
  await waitUntil('the stream', () => world.manager.streams.info('BILLING_ENTITLEMENTS').catch(() => undefined));
  await relay.stop();
  const { state } = await world.manager.streams.info('BILLING_ENTITLEMENTS');
  t.is(300 - (await world.unpublished()), state.messages, 'all that was acknowledged is marked');
  t.is(relay.status().publishedCount, state.messages);
});
