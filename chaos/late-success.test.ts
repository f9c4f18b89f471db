import test from 'ava';
import { holds } from './checks.ts';
import { succeedLate } from './late-success.ts';

/** The default tier plays each way a few times. */
const count = process.env['BILLING_TEST_TIER'] === 'full' ? 150 : 9;

test(`${count} successes after we gave up go back, each once, and touch nothing else`, async (t) => {
  const checks = await succeedLate(count, (line) => t.log(line));
  t.deepEqual(
    checks.filter((check) => !holds(check)),
    [],
  );
  t.is(checks[0]!.examined, count);
});
