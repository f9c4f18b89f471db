import test from 'ava';
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { pino } from 'pino';
import { createTestDatabase } from '../testing/database.ts';
import { waitUntil } from '../testing/wait-until.ts';
import { lockKeys } from './lock-keys.ts';
import { runUnderSessionLock } from './session-lock.ts';

const program = join(import.meta.dirname, '../testing/lock-process.ts');
const log = pino({ level: 'silent' });
const children: ChildProcess[] = [];
const databases: { drop(): Promise<void> }[] = [];

test.after.always(async () => {
  for (const child of children.filter((one) => one.exitCode === null && one.signalCode === null)) {
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }
  for (const database of databases) await database.drop();
});

async function newDatabase(): Promise<string> {
  const database = await createTestDatabase();
  databases.push(database);
  return database.url;
}

function startProcess(databaseUrl: string): ChildProcess {
  const child = fork(program, ['--database', databaseUrl]);
  children.push(child);
  return child;
}

async function holds(child: ChildProcess): Promise<boolean> {
  const answer = once(child, 'message');
  child.send('holds?');
  const [{ holds: isHeld }] = (await answer) as [{ holds: boolean }];
  return isHeld;
}

test('every lock has a key of its own', (t) => {
  const keys = Object.values(lockKeys).map((key) => key.join(':'));
  t.is(new Set(keys).size, keys.length);
});

test('a killed holder is followed by the next at once', async (t) => {
  const databaseUrl = await newDatabase();
  const first = startProcess(databaseUrl);
  await waitUntil('the first to hold it', () => holds(first));
  const second = startProcess(databaseUrl);
  await delay(1_000);
  t.false(await holds(second));
  const since = performance.now();
  first.kill('SIGKILL');
  await waitUntil('the second to hold it', () => holds(second));
  t.true(performance.now() - since < 5_000);
});

test('a stopped holder loses it within 13 s, and knows when it goes on', async (t) => {
  const databaseUrl = await newDatabase();
  const [first, second] = [startProcess(databaseUrl), startProcess(databaseUrl)];
  const holder = await waitUntil('one to hold it', async () =>
    (await holds(first)) ? first : (await holds(second)) ? second : undefined,
  );
  const other = holder === first ? second : first;
  const since = performance.now();
  holder.kill('SIGSTOP');
  await waitUntil('the other to hold it', () => holds(other));
  const tookMs = performance.now() - since;
  t.true(tookMs < 15_000, `${tookMs} ms: idle_session_timeout 10 s and a stand-by of at most 3 s`);
  holder.kill('SIGCONT');
  t.false(await holds(holder), 'its own clock says that the heartbeat is too old');
  t.true(await holds(other));
});

test('stop() waits for the work and lets the next one in', async (t) => {
  const databaseUrl = await newDatabase();
  const order: string[] = [];
  const options = { databaseUrl, key: lockKeys.relay, name: 'test', log };
  const first = runUnderSessionLock(options, async (_stillHeld, stopping) => {
    order.push('first begins');
    await once(stopping, 'abort');
    await delay(50);
    order.push('first ends');
  });
  await waitUntil('the first', () => first.holds());
  const second = runUnderSessionLock(options, async (_stillHeld, stopping) => {
    order.push('second begins');
    await once(stopping, 'abort');
  });
  await first.stop();
  t.false(first.holds());
  await waitUntil('the second', () => second.holds());
  t.deepEqual(order, ['first begins', 'first ends', 'second begins']);
  await second.stop();
});

test('work that throws is begun anew, and a database that is away is waited for', async (t) => {
  const databaseUrl = await newDatabase();
  let runs = 0;
  const lock = runUnderSessionLock({ databaseUrl, key: lockKeys.relay, name: 'test', log }, async (_held, stopping) => {
    runs++;
    if (runs === 1) throw new Error('the first run fails');
    await once(stopping, 'abort');
  });
  await waitUntil('the second run', () => runs === 2);
  t.true(lock.holds());
  await lock.stop();
  const away = { databaseUrl: 'postgres://postgres@127.0.0.1:1/none', key: lockKeys.relay, name: 'test', log };
  const absent = runUnderSessionLock(away, async () => undefined);
  await delay(200);
  t.false(absent.holds());
  await absent.stop();
});
