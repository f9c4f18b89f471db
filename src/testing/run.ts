import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { buildAdmin } from '../local/build-admin.ts';
import { startGuarded, type Guarded } from '../local/guard.ts';
import { LocalError } from '../local/local-error.ts';
import { untilAskedToStop } from '../local/until-asked-to-stop.ts';
import type { MeasuredFile } from './measure-file.ts';
import { startTestServers } from './servers.ts';
import { countTests } from './test-counts.ts';

const root = join(import.meta.dirname, '../..');
/** Of test files. On two cores the third works while others wait: for a lease, a deadline, an answer that never comes. */
const concurrency = 3;
const slowestShown = 10;

/** `npm test -- [files and options of ava]`. Answers ava's exit status. */
async function main(args: readonly string[]): Promise<number> {
  const asked = untilAskedToStop(Boolean(process.env['npm_lifecycle_event']));
  // Everything that a run writes is in here, also what tests, and what builds the panel, put into "the temporary folder".
  const dir = mkdtempSync(join(tmpdir(), 'billing-test-'));
  const [temporary, durations] = [join(dir, 'tmp'), join(dir, 'durations')];
  for (const folder of [temporary, durations]) mkdirSync(folder);
  const env = {
    ...(process.env as Record<string, string>),
    TMPDIR: temporary,
    // A run starts several hundred processes, and compiling is half of what the start of each costs.
    NODE_COMPILE_CACHE: join(dir, 'compile-cache'),
  };
  try {
    await buildAdmin(env, (line) => console.log(`the admin panel ${line}`));
    const servers = await startTestServers(dir, env);
    try {
      const ava = await startAva(args, {
        ...env,
        ...servers.env,
        BILLING_TEST_DURATIONS_DIR: durations,
      });
      void asked.then(() => ava.stop());
      const report = await printAndKeep(ava);
      const { status } = await ava.ended;
      printSlowest(durations);
      const { passed, failed } = countTests(report, status);
      console.log(`\n${passed} passed, ${failed} failed`);
      return status;
    } finally {
      await servers.stop();
    }
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

function startAva(args: readonly string[], env: Record<string, string>): Promise<Guarded> {
  return startGuarded({
    name: 'ava',
    command: process.execPath,
    args: [
      join(root, 'node_modules/ava/entrypoints/cli.js'),
      `--concurrency=${concurrency}`,
      '--node-arguments=--import=./src/testing/measure-file.ts',
      ...args,
    ],
    // ava sees a pipe; its colours are wanted where we have a terminal.
    env: process.stdout.isTTY ? { FORCE_COLOR: '1', ...env } : env,
    cwd: root,
    stopSignal: 'INT',
  });
}

async function printAndKeep(ava: Guarded): Promise<string> {
  const chunks: Buffer[] = [];
  ava.stderr!.pipe(process.stderr, { end: false });
  for await (const chunk of ava.stdout!) {
    chunks.push(chunk as Buffer);
    process.stdout.write(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString();
}

function printSlowest(durations: string): void {
  const measured = readdirSync(durations)
    .map((name) => JSON.parse(readFileSync(join(durations, name), 'utf8')) as MeasuredFile)
    .sort((a, b) => b.durationMs - a.durationMs)
    .slice(0, slowestShown);
  if (measured.length === 0) return;
  const seconds = (ms: number) => `${(ms / 1_000).toFixed(1).padStart(8)} s`;
  console.log(`\nThe slowest test files, with the processor time of their own processes:`);
  for (const { file, durationMs, cpuMs } of measured) {
    console.log(`${seconds(durationMs)} ${seconds(cpuMs)}  ${relative(root, file)}`);
  }
}

main(process.argv.slice(2)).then(
  (status) => process.exit(status),
  (error: unknown) => {
    console.error(error instanceof LocalError ? `npm test: ${error.message}` : error);
    process.exit(1);
  },
);
