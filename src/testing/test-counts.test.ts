import test from 'ava';
import { countTests } from './test-counts.ts';

// Reports are copied from ava 8.0.1.

test('counts what passed and what failed', (t) => {
  const report = `
  - [skip] money › skipped
  ✔ money › rounds
  ✘ [fail]: money › adds
  ✔ [expected fail] money › divides
  ✔ ids › sort (123ms)
    ℹ   ✔ a line that a test has logged
  ─

  money › adds

  Difference (- actual, + expected):

  - 1
  + 2

  ─

  1 test failed
  1 known failure
  1 test skipped
`;
  t.deepEqual(countTests(report, 1), { passed: 3, failed: 1 });
  t.deepEqual(countTests('  \u001B[32m✔\u001B[39m ids › sort\n', 0), { passed: 1, failed: 0 });
});

test('a file that broke counts as a failure, and so do tests that were not run', (t) => {
  const report = `
  ✘ [fail]: relay › before hook Error thrown in test
  ✘ 3 tests remaining in src/outbox/relay.test.ts
  ✘ src/a.test.ts exited due to SIGKILL
  ✘ src/b.test.ts exited with a non-zero exit code: 1
  ✘ No tests found in src/c.test.ts, make sure to import "ava" at the top of your test file
  ─

  1 hook failed
  1 uncaught exception
  2 tests remained pending after a timeout
`;
  t.deepEqual(countTests(report, 1), { passed: 0, failed: 9 });
});

test('a run that failed without saying why has one failure', (t) => {
  t.deepEqual(countTests('\n  ✔ a\n', 1), { passed: 1, failed: 1 });
  t.deepEqual(countTests('', 130), { passed: 0, failed: 1 });
});
