import test from 'ava';
import { failPointNames } from '../src/lib/fail-point.ts';
import { holds } from './checks.ts';
import { crashCases, crashEach } from './crash-points.ts';

test('killed after the provider answered, and after a message went out, the service comes right again', async (t) => {
  const checks = await crashEach(
    [
      { point: 'send.after-call', outcome: 'ok' },
      { point: 'relay.after-publish', outcome: 'decline' },
    ],
    (line) => t.log(line),
  );
  t.deepEqual(
    checks.filter((check) => !holds(check)),
    [],
  );
  t.is(checks.length, 6);
});

if (process.env['BILLING_TEST_TIER'] === 'full') {
  for (const provider of ['stripe', 'yookassa'] as const) {
    test(`the same with the double of ${provider}`, async (t) => {
      const checks = await crashEach(
        [
          { point: 'send.after-call', outcome: 'ok' },
          { point: 'settle.before-commit', outcome: 'stored-500' },
          { point: 'refund.after-call', outcome: 'ok' },
        ],
        (line) => t.log(line),
        provider,
      );
      t.deepEqual(
        checks.filter((check) => !holds(check)),
        [],
      );
    });
  }
}

test('every point is played, and each outcome at every point of a charge', (t) => {
  const cases = crashCases();
  t.deepEqual([...new Set(cases.map(({ point }) => point))], [...failPointNames]);
  for (const point of [
    'claim.after-commit',
    'send.before-call',
    'send.after-call',
    'settle.before-commit',
    'refund.after-call',
  ]) {
    t.is(cases.filter((one) => one.point === point).length, 6, point);
  }
});

test('a check that has examined nothing, or has found something, does not hold', (t) => {
  t.true(holds({ name: 'a', examined: 1, broken: [] }));
  t.false(holds({ name: 'a', examined: 0, broken: [] }));
  t.false(holds({ name: 'a', examined: 1, broken: ['it'] }));
});
