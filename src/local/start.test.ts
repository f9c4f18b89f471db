import test, { type ExecutionContext } from 'ava';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isRunning, processesOf } from '../testing/processes-of.ts';
import { waitUntil } from '../testing/wait-until.ts';
import type { RunningFile } from './running-file.ts';

const program = join(import.meta.dirname, 'start.ts');
const dir = mkdtempSync(join(tmpdir(), 'start-'));
const readyMaxMs = 60_000;
const goneMaxMs = 30_000;

const children: ChildProcess[] = [];

process.once('exit', () => children.forEach((child) => child.kill('SIGKILL')));
test.after.always(() => rmSync(dir, { recursive: true, force: true }));

/** `npm start` on a data folder, as a process of its own. */
function start(dataDir: string, options: { args?: string[]; env?: Record<string, string> } = {}) {
  const { npm_lifecycle_event: _, ...env } = process.env;
  const child = spawn(process.execPath, [program, ...(options.args ?? [])], {
    env: { ...env, BILLING_DATA_DIR: dataDir, BILLING_PORT: '0', BILLING_GRPC_PORT: '0', ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const written = { stdout: '', stderr: '' };
  child.stdout.on('data', (chunk: Buffer) => (written.stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (written.stderr += chunk.toString()));
  children.push(child);
  const exited = once(child, 'close').then(([status]) => ({ status: status as number | null, ...written }));
  return {
    exited,
    written,
    kill: (signal: NodeJS.Signals) => void child.kill(signal),
    async ready(): Promise<RunningFile> {
      await waitUntil(
        'it is ready or has ended',
        () => /^Ready\./m.test(written.stdout) || child.exitCode !== null,
        readyMaxMs,
      );
      if (child.exitCode !== null) throw new Error(`it has ended: ${written.stderr}`);
      return JSON.parse(readFileSync(join(dataDir, 'running.json'), 'utf8')) as RunningFile;
    },
  };
}

async function planIds({ httpUrl }: RunningFile): Promise<string[]> {
  const response = await fetch(`${httpUrl}/billing.v1.PlanService/ListPlans`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'connect-protocol-version': '1' },
    body: '{}',
  });
  return ((await response.json()) as { plans: { id: string }[] }).plans.map(({ id }) => id);
}

async function expectNothingLeft(t: ExecutionContext, dataDir: string, pids: RunningFile['pids']): Promise<void> {
  await waitUntil('all are gone', () => !Object.values(pids).some(isRunning), goneMaxMs);
  await waitUntil('their guards are gone', () => processesOf(dataDir).length === 0, goneMaxMs);
  t.pass();
}

/** Exit status 1 and one line on stderr. */
async function refusal(t: ExecutionContext, started: ReturnType<typeof start>): Promise<string> {
  const { status, stderr } = await started.exited;
  t.is(status, 1);
  t.regex(stderr, /^npm start: [^\n]+\n$/);
  return stderr;
}

test.serial('a life: first start, a second one, a killed one, one whose part dies, a fresh one', async (t) => {
  const dataDir = join(dir, 'life');
  const first = start(dataDir);
  const running = await first.ready();
  t.is((await fetch(`${running.httpUrl}/readyz`)).status, 200);
  const plans = await planIds(running);
  t.is(plans.length, 3);
  t.deepEqual(Object.keys(running.pids), ['PostgreSQL', 'NATS', 'Auth double', 'payment system', 'service']);
  for (const pid of Object.values(running.pids)) t.true(isRunning(pid));
  t.is(statSync(join(dataDir, 'running.json')).mode & 0o077, 0);
  for (const address of [running.httpUrl, running.grpcAddress, running.authUrl, running.paymentSystemUrl, dataDir]) {
    t.true(first.written.stdout.includes(address), address);
  }
  t.regex(await refusal(t, start(dataDir)), /life is in use: another "npm start" is running on it$/m);

  first.kill('SIGINT');
  const { status, stdout, stderr } = await first.exited;
  t.is(status, 0);
  t.is(stderr, '');
  t.regex(
    stdout,
    /Stopping \(Ctrl-C\)\.\n +service +stopped\n +payment system +stopped\n +Auth double +stopped\n +NATS +stopped\n +PostgreSQL +stopped\nEverything has stopped\.\n$/,
  );
  t.false(existsSync(join(dataDir, 'running.json')));
  await expectNothingLeft(t, dataDir, running.pids);

  const second = start(dataDir);
  const again = await second.ready();
  t.deepEqual(await planIds(again), plans);
  t.is(again.databaseUrl, running.databaseUrl);
  second.kill('SIGKILL');
  await second.exited;

  // At once, while the servers of the killed one are still stopping.
  const third = start(dataDir);
  const thirdRun = await third.ready();
  await expectNothingLeft(t, join(dir, 'nowhere'), again.pids);
  t.deepEqual(await planIds(thirdRun), plans);
  process.kill(thirdRun.pids['payment system']!, 'SIGKILL');
  const line = await refusal(t, third);
  t.regex(line, /the payment system ended unexpectedly \(status 137\): see .*life\/logs\/payment-system\.log$/m);
  await expectNothingLeft(t, dataDir, thirdRun.pids);

  const fourth = start(dataDir, { args: ['--fresh'] });
  const fresh = await fourth.ready();
  const freshPlans = await planIds(fresh);
  t.is(freshPlans.length, 3);
  t.false(freshPlans.some((id) => plans.includes(id)));
  fourth.kill('SIGTERM');
  t.is((await fourth.exited).status, 0);
  await expectNothingLeft(t, dataDir, fresh.pids);
});

test.serial('a start that is interrupted half-way stops what it has started', async (t) => {
  const dataDir = join(dir, 'interrupted');
  const started = start(dataDir);
  await waitUntil('PostgreSQL runs', () => /PostgreSQL +runs/.test(started.written.stdout), readyMaxMs);
  started.kill('SIGTERM');
  const { status, stderr } = await started.exited;
  t.is(status, 0, stderr);
  t.is(stderr, '');
  await expectNothingLeft(t, dataDir, {});
});

test('a port in use gets one line before anything is started', async (t) => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  for (const variable of ['BILLING_PORT', 'BILLING_GRPC_PORT']) {
    const dataDir = join(dir, variable);
    const started = start(dataDir, { env: { [variable]: String(port) } });
    t.is(
      await refusal(t, started),
      `npm start: port ${port} is in use: set ${variable} to another one, or to 0 for any free one\n`,
    );
    t.is(started.written.stdout, '');
    t.false(existsSync(join(dataDir, 'postgres')));
  }
  server.close();
});

test('a broken data folder gets one line, and nothing of it is left running', async (t) => {
  const dataDir = join(dir, 'broken');
  mkdirSync(join(dataDir, 'postgres'), { recursive: true });
  writeFileSync(join(dataDir, 'postgres/PG_VERSION'), '17\n');
  t.regex(await refusal(t, start(dataDir)), /broken has other files in it/);
  writeFileSync(join(dataDir, 'README.txt'), '');
  t.regex(await refusal(t, start(dataDir)), /broken\/postgres was written by PostgreSQL 17, and this is 18/);
  t.deepEqual(processesOf(dataDir), []);
});

test('what is not understood is refused before anything is started', async (t) => {
  const dataDir = join(dir, 'refused');
  t.regex(
    await refusal(t, start(dataDir, { args: ['--frish'] })),
    /Unknown option '--frish'; see "npm start -- --help"/,
  );
  const { status, stderr } = await start(dataDir, { env: { BILLING_PORT: 'x', BILLING_GRPC_PORT: 'y' } }).exited;
  t.is(status, 1);
  t.deepEqual(
    stderr
      .trimEnd()
      .split('\n')
      .slice(1)
      .map((line) => line.trim().split(' ')[0]),
    ['BILLING_PORT', 'BILLING_GRPC_PORT'],
  );
  t.false(existsSync(dataDir));
});
