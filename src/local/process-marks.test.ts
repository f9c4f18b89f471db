import test from 'ava';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { waitForPredecessors, writeProcessMarks } from './process-marks.ts';

const dir = mkdtempSync(join(tmpdir(), 'marks-'));
const boundMs = 5_000;

test.after.always(() => rmSync(dir, { recursive: true, force: true }));

test('a start waits for the servers that a killed one has left, and only as long as they run', async (t) => {
  const file = join(dir, 'left.json');
  const left = spawn('sleep', ['100']);
  await once(left, 'spawn');
  writeProcessMarks(file, [left.pid!]);
  const told: string[] = [];
  let ended = false;
  const waiting = waitForPredecessors(file, (line) => told.push(line)).then(() => t.true(ended));
  t.deepEqual(told, ['waits for the servers of an earlier start to end']);
  left.once('exit', () => (ended = true));
  left.kill();
  await waiting;
  t.false(existsSync(file));
});

test('another program with the number of an old one is not waited for', async (t) => {
  const file = join(dir, 'reused.json');
  writeFileSync(file, JSON.stringify([{ pid: process.pid, startedAt: 1 }, { pid: process.pid }]));
  const startedAt = performance.now();
  await waitForPredecessors(file, () => t.fail());
  t.true(performance.now() - startedAt < boundMs);
  t.false(existsSync(file));
});

test('without marks, or with marks that nobody can read, there is nothing to wait for', async (t) => {
  await waitForPredecessors(join(dir, 'none.json'), () => t.fail());
  const file = join(dir, 'broken.json');
  writeFileSync(file, '[{"pid":');
  await waitForPredecessors(file, () => t.fail());
  t.false(existsSync(file));
});
