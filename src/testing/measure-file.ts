import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Where the runner wants to read how long a test file took; unset outside the runner. */
const dir = process.env['BILLING_TEST_DURATIONS_DIR'];
const isWorker = /[/\\]ava[/\\]lib[/\\]worker[/\\]/.test(process.argv[1] ?? '');

// Loaded into every worker of ava by the runner; what a test starts with the same arguments is not one.
if (dir && isWorker) {
  process.on('exit', () => {
    const { default: test } = createRequire(import.meta.url)('ava') as typeof import('ava');
    const measured = { file: fileURLToPath(test.meta.file), durationMs: Math.round(performance.now()) };
    writeFileSync(join(dir, `${process.pid}.json`), JSON.stringify(measured));
  });
}
