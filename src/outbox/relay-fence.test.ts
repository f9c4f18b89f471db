import test from 'ava';
import { fork, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { change, startOutboxWorld, type OutboxWorld } from '../testing/outbox.ts';
import { waitUntil } from '../testing/wait-until.ts';
import { nextMessages } from './outbox-rows.ts';
import { publishMessage } from './publish-message.ts';
import type { RelayStatus } from './relay.ts';

const program = join(import.meta.dirname, '../testing/relay-process.ts');
// The shortest that nats-server allows: after it, only the expected sequence stands against a second copy.
const duplicateWindowMs = 100;
const usersCount = 20;
const burstsMax = 40;
const refusalsWanted = 10;

const cleanUps: (() => Promise<unknown>)[] = [];
test.after.always(async () => {
  for (const cleanUp of cleanUps.toReversed()) await cleanUp();
});

async function start(): Promise<OutboxWorld> {
  const world = await startOutboxWorld();
  cleanUps.push(() => world.stop());
  await world.manager.streams.add({
    name: 'BILLING_ENTITLEMENTS',
    subjects: ['billing.entitlements.v1.>'],
    duplicate_window: duplicateWindowMs * 1_000_000,
  });
  return world;
}

function startRelay(world: OutboxWorld, lock: 'none' | 'session'): ChildProcess {
  const relay = fork(program, ['--database', world.databaseUrl, '--nats', world.nats.url, '--lock', lock]);
  cleanUps.push(() => end(relay, 'SIGKILL'));
  return relay;
}

/** By default it finishes what it has in flight. */
async function end(relay: ChildProcess, signal?: 'SIGKILL'): Promise<void> {
  if (relay.exitCode !== null || relay.signalCode !== null) return;
  const exited = once(relay, 'exit');
  if (signal) relay.kill(signal);
  else relay.disconnect();
  await exited;
}

/** Wakes it and answers its status. */
async function wake(relay: ChildProcess): Promise<RelayStatus> {
  const answer = once(relay, 'message');
  relay.send('wake');
  const [status] = (await answer) as [RelayStatus];
  return status;
}

test('a message held back while others went ahead is refused, and nothing is sent twice or out of order', async (t) => {
  const world = await start();
  const userId = randomUUID();
  await world.enqueue(userId, 1);
  const held = await nextMessages(world.orm.em, undefined, 500);
  const relay = world.relay({ lock: 'none' });
  await world.enqueue(userId, 2);
  await world.enqueue(userId, 3);
  await world.drained();
  await delay(duplicateWindowMs * 3);

  const counts = { published: 0, refused: 0 };
  const ctx = { em: world.orm.em, manager: world.manager, log: world.log, counts };
  t.is(await publishMessage(ctx, held[0]!), undefined);
  t.is(counts.refused, 1);
  t.deepEqual(
    (await world.stored()).map((one) => one.version),
    [1, 2, 3],
  );
  await world.enqueue(userId, 4);
  relay.wake();
  await world.drained();
  t.is(relay.status().refusedCount, 0, 'the fence of the next version points at the right message');
});

test('without the lock, relays that are stopped and continued never send twice or out of order', async (t) => {
  const world = await start();
  const relays = [1, 2, 3].map(() => startRelay(world, 'none'));
  for (const relay of relays) {
    await waitUntil('the relay to connect', async () => (await wake(relay)).connected);
  }
  const users = Array.from({ length: usersCount }, () => randomUUID());
  let version = 0;
  let refusedCount = 0;
  for (let burst = 0; burst < burstsMax && refusedCount < refusalsWanted; burst++) {
    const versions = [1, 2, 3, 4, 5].map((step) => version + step);
    await world.enqueueAll(versions.flatMap((one) => users.map((userId) => change(userId, one))));
    version += versions.length;
    await Promise.all(relays.map((relay) => wake(relay)));
    // One is stopped in the middle of it and continues when the others are long done and the window is over.
    const stopped = relays[burst % relays.length]!;
    await delay(Math.random() * 60);
    stopped.kill('SIGSTOP');
    await world.drained();
    await delay(duplicateWindowMs * 2);
    stopped.kill('SIGCONT');
    const statuses = await Promise.all(relays.map((relay) => wake(relay)));
    refusedCount = statuses.reduce((sum, status) => sum + status.refusedCount, 0);
  }
  t.log(`refused: ${refusedCount} of ${version * users.length}`);
  t.true(refusedCount >= refusalsWanted, 'the fence was seen refusing');

  await Promise.all(relays.map((relay) => end(relay)));
  const stored = await world.stored();
  const all = Array.from({ length: version }, (_, index) => index + 1);
  for (const userId of users) {
    t.deepEqual(
      stored.filter((one) => one.userId === userId).map((one) => one.version),
      all,
    );
  }
});
