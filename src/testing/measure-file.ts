import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** What a test file cost: time, and processor time of its worker and of the processes that this has started and ended. */
export interface MeasuredFile {
  readonly file: string;
  readonly durationMs: number;
  readonly cpuMs: number;
}

/** Where the runner wants to read it; unset outside the runner. */
const dir = process.env['BILLING_TEST_DURATIONS_DIR'];
const isWorker = /[/\\]ava[/\\]lib[/\\]worker[/\\]/.test(process.argv[1] ?? '');
/** The unit of /proc, on every Linux. */
const tickMs = 10;

/** Node's own resourceUsage() leaves out the children; the kernel counts those that were waited for. */
function cpuMs(): number {
  // Behind the name, which may have spaces in it: the state, ten other fields, then user, system and both of the children.
  const fields = readFileSync('/proc/self/stat', 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ');
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks) * tickMs, 0);
}

// Loaded into every worker of ava by the runner; what a test starts with the same arguments is not one.
if (dir && isWorker) {
  process.on('exit', () => {
    const { default: test } = createRequire(import.meta.url)('ava') as typeof import('ava');
    const file = fileURLToPath(test.meta.file);
    const measured: MeasuredFile = { file, durationMs: Math.round(performance.now()), cpuMs: cpuMs() };
    writeFileSync(join(dir, `${process.pid}.json`), JSON.stringify(measured));
  });
}
