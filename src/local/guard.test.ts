import test from 'ava';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { isRunning } from '../testing/processes-of.ts';
import { waitUntil } from '../testing/wait-until.ts';
import { startGuarded } from './guard.ts';

const parentProgram = join(import.meta.dirname, '../testing/guarded-parent.ts');
const dir = mkdtempSync(join(tmpdir(), 'guard-'));
const env = { ...(process.env as Record<string, string>) };

test.after.always(() => rmSync(dir, { recursive: true, force: true }));

function node(script: string, more: { logFile?: string; stopSignal?: 'INT'; stopTimeoutMs?: number } = {}) {
  return startGuarded({ name: 'a program', command: process.execPath, args: ['-e', script], env, ...more });
}

test('a server is asked by its signal and ends with the status that it chose', async (t) => {
  for (const stopSignal of [undefined, 'INT'] as const) {
    const logFile = join(dir, `polite-${stopSignal}.log`);
    const script = `
      process.on('SIGTERM', () => process.exit(5));
      process.on('SIGINT', () => process.exit(6));
      console.log('listens'); setInterval(() => {}, 1000);
    `;
    const server = await node(script, { logFile, ...(stopSignal && { stopSignal }) });
    await waitUntil('it listens', () => server.lastLines().includes('listens'));
    t.true(server.isRunning());
    t.deepEqual(await server.stop(), { status: stopSignal === 'INT' ? 6 : 5, expected: true });
    t.false(isRunning(server.pid));
    t.deepEqual(await server.stop(), { status: stopSignal === 'INT' ? 6 : 5, expected: true });
  }
});

test('a server that ends by itself is told apart, with its status and its last words', async (t) => {
  const logFile = join(dir, 'dying.log');
  const server = await node('console.log("first"); console.error("no port"); process.exitCode = 7', { logFile });
  t.deepEqual(await server.ended, { status: 7, expected: false });
  t.deepEqual(server.lastLines(), ['first', 'no port']);
  t.false(server.isRunning());

  const killed = await node('setInterval(() => {}, 1000)');
  killed.signal('SIGKILL');
  t.deepEqual(await killed.ended, { status: 137, expected: false });
});

test('a server that does not obey is killed', async (t) => {
  const logFile = join(dir, 'deaf.log');
  const script = 'process.on("SIGTERM", () => {}); console.log("deaf"); setInterval(() => {}, 1000)';
  const server = await node(script, { logFile, stopTimeoutMs: 300 });
  await waitUntil('it is deaf', () => server.lastLines().includes('deaf'));
  t.deepEqual(await server.stop(), { status: 137, expected: true });
  t.false(isRunning(server.pid));
});

test('a program that is not there ends as one that failed', async (t) => {
  const logFile = join(dir, 'none.log');
  const server = await startGuarded({ name: 'none', command: '/nowhere/none', args: [], env, logFile });
  t.is((await server.ended).status, 127);
  t.regex(server.lastLines().join(), /\/nowhere\/none: not found/);
});

for (const signal of ['SIGKILL', 'SIGTERM', 'SIGINT'] as const) {
  test(`a parent ended by ${signal} leaves no server behind`, async (t) => {
    const folder = mkdtempSync(join(dir, 'parent-'));
    const parent = spawn(process.execPath, [parentProgram, folder], { stdio: ['ignore', 'pipe', 'inherit'], env });
    const exited = once(parent, 'exit');
    const [line] = (await once(createInterface(parent.stdout), 'line')) as [string];
    const pids = JSON.parse(line) as Record<'postgres' | 'nats' | 'program' | 'stubborn', number>;
    for (const [name, pid] of Object.entries(pids)) t.true(isRunning(pid), name);
    const stubborn = join(folder, 'logs/stubborn.log');
    await waitUntil('the stubborn one is deaf', () => readFileSync(stubborn, 'utf8').includes('deaf'));

    parent.kill(signal);
    await exited;
    await waitUntil('all are gone', () => !Object.values(pids).some(isRunning), 15_000);
    // Its fast shutdown takes the lock file away; a killed one would leave it.
    t.false(existsSync(join(folder, 'postgres/postmaster.pid')));
    t.regex(readFileSync(join(folder, 'logs/postgres.log'), 'utf8'), /database system is shut down\s*$/);
  });
}
