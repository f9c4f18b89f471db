import test from 'ava';
import type { IntervalUnit } from '../catalog/plan.ts';
import { billingPeriod, periodToCharge } from './billing-period.ts';

// design/1-domain.md, "Vectors"; the dates were written by hand.
const vectors: { anchor: string; unit: IntervalUnit; count: number; starts: string[] }[] = [
  {
    anchor: '2027-01-31',
    unit: 'month',
    count: 1,
    starts: ['2027-02-28', '2027-03-31', '2027-04-30', '2027-05-31', '2027-06-30'],
  },
  { anchor: '2028-01-31', unit: 'month', count: 1, starts: ['2028-02-29', '2028-03-31', '2028-04-30'] },
  { anchor: '2027-01-30', unit: 'month', count: 1, starts: ['2027-02-28', '2027-03-30', '2027-04-30'] },
  { anchor: '2027-12-31', unit: 'month', count: 1, starts: ['2028-01-31', '2028-02-29', '2028-03-31'] },
  { anchor: '2027-11-30', unit: 'month', count: 3, starts: ['2028-02-29', '2028-05-30', '2028-08-30'] },
  { anchor: '2027-08-31', unit: 'month', count: 6, starts: ['2028-02-29', '2028-08-31', '2029-02-28'] },
  { anchor: '2028-02-29', unit: 'year', count: 1, starts: ['2029-02-28', '2030-02-28', '2031-02-28', '2032-02-29'] },
  { anchor: '2028-02-29', unit: 'month', count: 1, starts: ['2028-03-29', '2028-04-29', '2028-05-29'] },
];

for (const { anchor, unit, count, starts } of vectors) {
  test(`periods of ${anchor} every ${count} ${unit} start on the civil dates of the table`, (t) => {
    const schedule = {
      anchorAt: Temporal.Instant.from(`${anchor}T09:41:07.123Z`),
      anchorCycle: 0,
      intervalUnit: unit,
      intervalCount: count,
      timeZone: 'UTC',
    };
    const computed = starts.map((_, index) => billingPeriod(schedule, index + 1).start.toString());
    t.deepEqual(
      computed,
      starts.map((date) => `${date}T09:41:07.123Z`),
    );
  });
}

test('a civil time in a DST gap moves forward, and the next period is back at the civil time', (t) => {
  const schedule = {
    anchorAt: Temporal.Instant.from('2027-02-28T01:30:00Z'),
    anchorCycle: 0,
    intervalUnit: 'month',
    intervalCount: 1,
    timeZone: 'Europe/Berlin',
  } as const;
  t.is(billingPeriod(schedule, 1).start.toString(), '2027-03-28T01:30:00Z');
  t.is(billingPeriod(schedule, 2).start.toString(), '2027-04-28T00:30:00Z');
});

test('a civil time in a DST overlap takes the earlier instant', (t) => {
  const schedule = {
    anchorAt: Temporal.Instant.from('2027-09-30T00:30:00Z'),
    anchorCycle: 0,
    intervalUnit: 'month',
    intervalCount: 1,
    timeZone: 'Europe/Berlin',
  } as const;
  // 02:30 in Berlin; on 31 October that time comes twice.
  t.is(billingPeriod(schedule, 1).start.toString(), '2027-10-30T00:30:00Z');
  const fromThe31st = { ...schedule, anchorAt: Temporal.Instant.from('2027-08-31T00:30:00Z') };
  t.is(billingPeriod(fromThe31st, 2).start.toString(), '2027-10-31T00:30:00Z');
});

test('an anchor inside a DST overlap keeps its instant as the start of the first period', (t) => {
  const later = Temporal.Instant.from('2027-10-31T01:30:00Z');
  const schedule = {
    anchorAt: later,
    anchorCycle: 0,
    intervalUnit: 'month',
    intervalCount: 1,
    timeZone: 'Europe/Berlin',
  } as const;
  t.is(billingPeriod(schedule, 0).start.toString(), '2027-10-31T01:30:00Z');
  t.is(billingPeriod(schedule, 1).start.toString(), '2027-11-30T01:30:00Z');
});

test('after 70 days away the period that contains now is charged and the ones that passed whole are forgiven', (t) => {
  const schedule = {
    anchorAt: Temporal.Instant.from('2027-01-10T12:00:00Z'),
    anchorCycle: 0,
    intervalUnit: 'month',
    intervalCount: 1,
    timeZone: 'UTC',
  } as const;
  const { period, forgiven } = periodToCharge(schedule, 0, Temporal.Instant.from('2027-04-21T12:00:00Z'));
  t.is(period.start.toString(), '2027-04-10T12:00:00Z');
  t.is(period.end.toString(), '2027-05-10T12:00:00Z');
  t.deepEqual(
    forgiven.map((missed) => missed.start.toString()),
    ['2027-02-10T12:00:00Z', '2027-03-10T12:00:00Z'],
  );
});

test('a period that ends exactly now has passed whole', (t) => {
  const schedule = {
    anchorAt: Temporal.Instant.from('2027-01-10T12:00:00Z'),
    anchorCycle: 0,
    intervalUnit: 'month',
    intervalCount: 1,
    timeZone: 'UTC',
  } as const;
  const { period } = periodToCharge(schedule, 0, Temporal.Instant.from('2027-03-10T12:00:00Z'));
  t.is(period.start.toString(), '2027-03-10T12:00:00Z');
});
