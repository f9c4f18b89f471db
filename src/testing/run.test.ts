import test from 'ava';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { processesOf } from './processes-of.ts';
import { waitUntil } from './wait-until.ts';

const program = join(import.meta.dirname, 'run.ts');
const dir = mkdtempSync(join(tmpdir(), 'run-'));

test.after.always(() => rmSync(dir, { recursive: true, force: true }));

/** A run of the runner whose temporary folder is a new one. */
function start(name: string, ...args: string[]) {
  const temporary = mkdtempSync(join(dir, `${name}-`));
  // ava colours nothing into a pipe, unless the run around this one does.
  const { FORCE_COLOR: _, npm_lifecycle_event: __, ...env } = process.env;
  const child = spawn(process.execPath, [program, ...args], {
    env: { ...env, TMPDIR: temporary },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  return { child, temporary, output: () => output, exited: once(child, 'close') as Promise<[number | null]> };
}

test.serial(
  'a run ends with the counts, names the slowest files and leaves neither a process nor a file',
  async (t) => {
    const { temporary, output, exited } = start('good', 'src/config/local-config.test.ts');
    const [status] = await exited;
    t.is(status, 0, output());
    t.regex(output(), /✔ .*0 asks for any free port, for both/);
    t.regex(
      output(),
      /The slowest test files, .*:\n +\d+\.\d s +\d+\.\d s {2}src\/config\/local-config\.test\.ts\n\n4 passed, 0 failed\n$/,
    );
    t.deepEqual(readdirSync(temporary), []);
    t.deepEqual(processesOf(temporary), []);
  },
);

test.serial('a run that fails exits as ava does, and says so in the last line', async (t) => {
  const { temporary, output, exited } = start('bad', 'src/no-such-file.test.ts');
  const [status] = await exited;
  t.is(status, 1);
  t.regex(output(), /\n0 passed, 1 failed\n$/);
  t.deepEqual(readdirSync(temporary), []);
});

for (const signal of ['SIGINT', 'SIGKILL'] as const) {
  test.serial(`a run ended by ${signal} leaves no process, and nothing in memory`, async (t) => {
    const { child, temporary, exited } = start(signal, 'src/testing/database.test.ts', '--match=*under whoever*');
    await waitUntil('PostgreSQL runs', () =>
      processesOf(temporary).some((command) => command.includes('/bin/postgres')),
    );
    const memory = realpathSync(join(temporary, readdirSync(temporary)[0]!, 'memory'));
    child.kill(signal);
    await exited;
    await waitUntil('all are gone', () => processesOf(temporary).length === 0);
    if (memory.startsWith('/dev/shm/')) await waitUntil('memory is free', () => !existsSync(memory));
    if (signal !== 'SIGKILL') t.deepEqual(readdirSync(temporary), []);
    t.pass();
  });
}
