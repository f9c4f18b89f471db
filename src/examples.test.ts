import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import test, { type ExecutionContext } from 'ava';
import { startWorld, type World } from './testing/world.ts';
import { waitUntil } from './testing/wait-until.ts';

const examples = join(import.meta.dirname, '../examples');
let world: World;
test.before(async () => {
  world = await startWorld({ at: '2027-01-15T09:00:00Z' });
});
test.after.always(() => world?.stop());

interface Program {
  child: ChildProcess;
  lines: string[];
  ended: Promise<unknown[]>;
}

function run(t: ExecutionContext, name: string, ...args: string[]): Program {
  const child = spawn(process.execPath, [join(examples, name), ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  const lines: string[] = [];
  for (const stream of [child.stdout!, child.stderr!]) createInterface(stream).on('line', (line) => lines.push(line));
  const ended = once(child, 'exit');
  t.teardown(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  return { child, lines, ended };
}

test('the gateway lists the plans, subscribes a viewer, and follows until it is paid', async (t) => {
  const userId = randomUUID();
  const gateway = run(t, 'gateway.ts', world.service.grpcAddress, await world.auth.token({ sub: userId }), 'premium');
  const page = await waitUntil('the page to pay at', () =>
    gateway.lines.find((line) => line.startsWith('pay at '))?.slice('pay at '.length),
  );
  await world.paymentSystem.pay(page);
  const [code] = await gateway.ended;
  t.is(code, 0, gateway.lines.join('\n'));
  t.deepEqual(gateway.lines.slice(0, 2), ['plan basic: 29900 RUB minor', 'plan premium: 99900 RUB minor']);
  t.is(gateway.lines.at(-1), 'ACTIVE until 2027-02-15T09:00:00.000Z');
  const rows = await world.query(`select status from subscription where user_id = $1`, [userId]);
  t.deepEqual(rows, [{ status: 'ACTIVE' }]);
});

test('the Auth consumer has the rights, also after it was killed, and applies nothing twice', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'auth-example-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const start = () => run(t, 'auth-consumer.ts', world.nats.url, join(folder, 'rights.db'));
  const first = start();
  const { userId, subscriptionId, token } = await world.subscriber();
  await waitUntil('the rights', () => first.lines.includes(`${userId} version 1: catalog.base`));
  first.child.kill('SIGKILL');
  await first.ended;

  const second = start();
  await waitUntil('it follows again', () => second.lines.includes('following'));
  const { subscriptions } = world.clients();
  // CANCEL_EFFECTIVE_NOW
  await subscriptions.cancelSubscription({ requestId: randomUUID(), subscriptionId, effective: 2 }, { token });
  subscriptions.close();
  await waitUntil('the rights are gone', () => second.lines.includes(`${userId} version 2: nothing`));
  t.deepEqual(
    second.lines.filter((line) => line.startsWith(userId)),
    [`${userId} version 2: nothing`],
  );
  second.child.kill('SIGTERM');
  t.is((await second.ended)[0], 0, second.lines.join('\n'));
});

test('each example is about a page', (t) => {
  for (const name of ['gateway.ts', 'auth-consumer.ts']) {
    t.true(readFileSync(join(examples, name), 'utf8').split('\n').length <= 130, name);
  }
});
