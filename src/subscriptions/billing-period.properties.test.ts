import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { billingPeriod, periodToCharge, type BillingSchedule } from './billing-period.ts';

const runs = 500;
const zones = ['UTC', 'Europe/Moscow', 'Europe/Berlin', 'America/New_York', 'Pacific/Apia', 'Australia/Lord_Howe'];

const schedules: fc.Arbitrary<BillingSchedule> = fc.record({
  anchorAt: fc
    .integer({ min: Date.UTC(2024, 0, 1), max: Date.UTC(2040, 0, 1) })
    .map((ms) => Temporal.Instant.fromEpochMilliseconds(ms)),
  anchorCycle: fc.integer({ min: 0, max: 40 }),
  intervalUnit: fc.constantFrom('day', 'week', 'month', 'year'),
  intervalCount: fc.integer({ min: 1, max: 12 }),
  timeZone: fc.constantFrom(...zones),
});
const cycles = fc.integer({ min: 0, max: 60 });

test('periods tile: each one starts at the instant at which the one before ends, and lasts', (t) => {
  let examined = 0;
  fc.assert(
    fc.property(schedules, cycles, (schedule, steps) => {
      const cycle = schedule.anchorCycle + steps;
      const [one, next] = [billingPeriod(schedule, cycle), billingPeriod(schedule, cycle + 1)];
      examined += 1;
      return one.end.equals(next.start) && Temporal.Instant.compare(one.start, one.end) < 0;
    }),
    { numRuns: runs },
  );
  t.is(examined, runs);
});

test('a monthly period starts on the day of the anchor, or on the last day of a shorter month', (t) => {
  let examined = 0;
  fc.assert(
    fc.property(schedules, cycles, (schedule, steps) => {
      const monthly = { ...schedule, intervalUnit: 'month', timeZone: 'UTC' } as const;
      const anchor = monthly.anchorAt.toZonedDateTimeISO('UTC');
      const start = billingPeriod(monthly, monthly.anchorCycle + steps).start.toZonedDateTimeISO('UTC');
      examined += 1;
      return (
        start.day === Math.min(anchor.day, start.daysInMonth) &&
        start.toPlainTime().equals(anchor.toPlainTime()) &&
        (start.year - anchor.year) * 12 + start.month - anchor.month === steps * monthly.intervalCount
      );
    }),
    { numRuns: runs },
  );
  t.is(examined, runs);
});

test('what is charged after any absence contains now, and everything before it is forgiven', (t) => {
  let forgivenSome = 0;
  fc.assert(
    fc.property(schedules, fc.integer({ min: 0, max: 400 }), (schedule, daysAway) => {
      const due = billingPeriod(schedule, schedule.anchorCycle + 1).start;
      const now = due.add({ hours: daysAway * 24 });
      const { period, forgiven } = periodToCharge(schedule, schedule.anchorCycle, now);
      if (forgiven.length > 0) forgivenSome += 1;
      return (
        Temporal.Instant.compare(period.start, now) <= 0 &&
        Temporal.Instant.compare(now, period.end) < 0 &&
        period.cycle === schedule.anchorCycle + 1 + forgiven.length
      );
    }),
    { numRuns: runs },
  );
  t.true(forgivenSome > 0);
});

test('nothing depends on the time zone of the process', (t) => {
  const program = `
    import { billingPeriod } from ${JSON.stringify(join(import.meta.dirname, 'billing-period.ts'))};
    const schedule = { anchorAt: Temporal.Instant.from('2027-01-31T22:30:00Z'), anchorCycle: 0, intervalUnit: 'month',
      intervalCount: 1, timeZone: 'Europe/Berlin' };
    console.log([1, 2, 3, 9, 10].map((cycle) => billingPeriod(schedule, cycle).start.toString()).join(' '));
  `;
  // 31 January 23:30 in Berlin; summer time from 28 March to 31 October.
  const expected =
    '2027-02-28T22:30:00Z 2027-03-31T21:30:00Z 2027-04-30T21:30:00Z 2027-10-31T22:30:00Z 2027-11-30T22:30:00Z';
  for (const zone of ['UTC', 'America/New_York', 'Pacific/Apia']) {
    const run = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
      env: { TZ: zone },
      encoding: 'utf8',
    });
    t.is(run.stdout.trim(), expected, zone + run.stderr);
  }
});
