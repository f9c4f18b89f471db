import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { waitUntil } from '../src/testing/wait-until.ts';

const startMaxMs = 60_000;
const endMaxMs = 20_000;

/** It opens a whole world only to be interrupted: not in the default tier. */
const inFullTier = process.env['BILLING_TEST_TIER'] === 'full' ? test : undefined;

inFullTier?.('a run that is interrupted ends by itself, quietly, and leaves no folder', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'chaos-run-'));
  try {
    const child = spawn(process.execPath, [join(import.meta.dirname, 'run.ts'), 'request-id'], {
      env: { ...process.env, TMPDIR: dir },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let said = '';
    let problems = '';
    child.stdout.on('data', (chunk) => (said += String(chunk)));
    child.stderr.on('data', (chunk) => (problems += String(chunk)));
    // The world is there when something is in its temporary folder, and being played in.
    await waitUntil('the run is under way', () => foldersIn(dir).length > 0 && /\d s {2}/.test(said), startMaxMs);
    const ended = once(child, 'close');
    child.kill('SIGINT');
    const killer = setTimeout(() => child.kill('SIGKILL'), endMaxMs);
    const [status] = (await ended) as [number | null];
    clearTimeout(killer);
    t.is(status, 130, problems);
    t.is(problems, '');
    t.deepEqual(foldersIn(dir), []);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

function foldersIn(dir: string): string[] {
  return readdirSync(dir).filter((name) => name.startsWith('billing-chaos-'));
}

test('a scenario or a payment system that there is none of is refused before anything is started', (t) => {
  const run = (...args: string[]) =>
    spawnSync(process.execPath, [join(import.meta.dirname, 'run.ts'), ...args], { encoding: 'utf8' });
  for (const args of [['nothing'], ['crash-points', '--provider', 'paypal'], ['cancel-race', '--provider', 'stripe']]) {
    const { status, stderr } = run(...args);
    t.is(status, 2, stderr);
    t.regex(stderr, /^chaos: .+\n$/);
  }
});
