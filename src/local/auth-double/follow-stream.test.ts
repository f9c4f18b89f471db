import test from 'ava';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startAuthDouble, type TestAuthDouble } from '../../testing/auth-double.ts';
import { startTestNats, type TestNats } from '../../testing/nats.ts';
import { waitUntil } from '../../testing/wait-until.ts';
import { connectPublisher, type TestPublisher } from '../../testing/entitlement-publisher.ts';

const cleanUps: (() => Promise<unknown>)[] = [];
test.after.always(async () => {
  for (const cleanUp of cleanUps.toReversed()) await cleanUp();
});

async function start(): Promise<{ nats: TestNats; publisher: TestPublisher }> {
  const nats = await startTestNats();
  cleanUps.push(() => nats.remove());
  const publisher = await connectPublisher(nats.url);
  cleanUps.push(() => publisher.nats.close());
  return { nats, publisher };
}

async function startAuth(options: { natsUrl: string; dataDir?: string }): Promise<TestAuthDouble> {
  const auth = await startAuthDouble(options);
  cleanUps.push(() => auth.stop());
  return auth;
}

function folder(): string {
  const dir = mkdtempSync(join(tmpdir(), 'auth-follow-'));
  cleanUps.push(async () => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

const uhd = [{ features: ['video.uhd'] }];
const users = (count: number): string[] => Array.from({ length: count }, () => randomUUID());

test('waits for a server and a stream that are not there yet, and answers meanwhile', async (t) => {
  const { nats, publisher } = await start();
  await nats.kill();
  const auth = await startAuth({ natsUrl: nats.url });
  const userId = randomUUID();
  const token = await auth.token({ sub: userId });
  t.deepEqual(await auth.check(token), { active: true });
  await nats.start();
  await waitUntil('the missing stream to be told', () => auth.log.some((line) => line.includes('stream not found')));
  await publisher.makeStream();
  await publisher.publish(userId, { version: 1, rightsVersion: 1, grants: uhd });
  await waitUntil('the change', async () => (await auth.user(userId)).version === 1);
  t.deepEqual(await auth.check(token), { active: false, reason: 'revoked' });
});

test('killed in the middle of its work, it ends with everything', async (t) => {
  const { nats, publisher } = await start();
  await publisher.makeStream();
  const dataDir = folder();
  const first = await startAuth({ natsUrl: nats.url, dataDir });
  const some = users(400);
  for (const userId of some) await publisher.publish(userId, { version: 1, rightsVersion: 1, grants: uhd });
  for (const userId of some) {
    await publisher.publish(userId, { version: 2, rightsVersion: 2, grants: [] });
    if (userId === some[200]) await first.kill();
  }
  const second = await startAuth({ natsUrl: nats.url, dataDir });
  await waitUntil('all', async () => (await second.users()).filter((user) => user.version === 2).length === 400);
  t.deepEqual(
    (await second.users()).map((user) => user.user_id),
    some.sort(),
  );
});

test('catches up on what was published before and after NATS was killed', async (t) => {
  const { nats, publisher } = await start();
  await publisher.makeStream();
  const auth = await startAuth({ natsUrl: nats.url });
  const some = users(200);
  for (const userId of some.slice(0, 100))
    await publisher.publish(userId, { version: 1, rightsVersion: 1, grants: uhd });
  await nats.kill();
  await nats.start();
  for (const userId of some.slice(100)) await publisher.publish(userId, { version: 1, rightsVersion: 1, grants: uhd });
  await waitUntil('all', async () => (await auth.users()).length === 200);
  t.deepEqual(
    (await auth.users()).map((user) => user.user_id),
    some.sort(),
  );
});

test('makes its consumer again when it is gone, and repeats change nothing', async (t) => {
  const { nats, publisher } = await start();
  await publisher.makeStream();
  const auth = await startAuth({ natsUrl: nats.url });
  const userId = randomUUID();
  await publisher.publish(userId, { version: 1, rightsVersion: 1, grants: uhd });
  await publisher.settle(auth);
  const token = await auth.token({ sub: userId });
  await publisher.manager.consumers.delete('BILLING_ENTITLEMENTS', 'auth');
  await publisher.publish(userId, { version: 2, rightsVersion: 1, grants: uhd });
  await waitUntil('the change', async () => (await auth.user(userId)).version === 2);
  t.deepEqual(await auth.check(token), { active: true });
});

test('goes on when the stream was lost and made again, from lower sequences', async (t) => {
  const { nats, publisher } = await start();
  await publisher.makeStream();
  const auth = await startAuth({ natsUrl: nats.url });
  const userId = randomUUID();
  await publisher.publish(userId, { version: 1, rightsVersion: 1, grants: uhd }, { version: 2, rightsVersion: 1 });
  await waitUntil('the change', async () => (await auth.user(userId)).version === 2);
  await nats.kill();
  rmSync(join(nats.storeDir, 'jetstream'), { recursive: true });
  await nats.start();
  await publisher.makeStream();
  await publisher.publish(userId, { version: 3, rightsVersion: 3 });
  await waitUntil('the change', async () => (await auth.user(userId)).version === 3);
  t.pass();
});

test('ends cleanly on SIGTERM, with NATS there and with NATS away', async (t) => {
  const { nats, publisher } = await start();
  await publisher.makeStream();
  const auth = await startAuthDouble({ natsUrl: nats.url });
  await publisher.settle(auth);
  t.is(await auth.stop(), 0);

  // The moment between the end of the connection and what the client makes of it is short: several tries.
  for (let round = 0; round < 5; round++) {
    const waiting = await startAuthDouble({ natsUrl: nats.url });
    await publisher.settle(waiting);
    await nats.kill();
    t.is(await waiting.stop(), 0, waiting.log.join('\n'));
    await nats.start();
  }
  await nats.kill();
  const withoutNats = await startAuthDouble({ natsUrl: nats.url });
  t.is(await withoutNats.stop(), 0);
});

test('ends when the process that started it is killed', async (t) => {
  const dataDir = folder();
  const helper = join(import.meta.dirname, '../../testing/auth-double.ts');
  const script = `
    const { startAuthDouble } = await import(${JSON.stringify(helper)});
    const auth = await startAuthDouble({ natsUrl: 'nats://127.0.0.1:1', dataDir: ${JSON.stringify(dataDir)} });
    console.log(auth.url);`;
  const parent = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(parent.stdout, 'data')) as [Buffer];
  const url = line.toString().trim();
  t.is((await fetch(`${url}/readyz`)).status, 200);
  parent.kill('SIGKILL');
  await waitUntil('its end', () =>
    fetch(`${url}/readyz`).then(
      () => false,
      () => true,
    ),
  );
});
