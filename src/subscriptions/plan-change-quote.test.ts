import test from 'ava';
import type { IntervalUnit } from '../catalog/plan.ts';
import { quotePlanChange, type PaidSpan, type TargetPrice } from './plan-change-quote.ts';
import type { SubscriptionState } from './subscription.ts';

const at = (text: string) => Temporal.Instant.from(text);
type Interval = [count: number, unit: IntervalUnit];
const month: Interval = [1, 'month'];

function price(amountMinor: bigint, [intervalCount, intervalUnit]: Interval): TargetPrice {
  const amount = { currencyCode: 'RUB', amountMinor };
  const [planCode, planName] = ['other', 'Other'];
  return { priceId: 'other', planCode, planName, features: [], amount, intervalUnit, intervalCount };
}

function subscribed(amountMinor: bigint, [intervalCount, intervalUnit]: Interval, start: string, end: string) {
  return {
    status: 'ACTIVE',
    amount: { currencyCode: 'RUB', amountMinor },
    intervalUnit,
    intervalCount,
    anchorAt: at(start),
    anchorCycle: 0,
    cycle: 0,
    billingTimeZone: 'UTC',
    currentPeriodStart: at(start),
    currentPeriodEnd: at(end),
  } as SubscriptionState;
}

const april = subscribed(59_900n, month, '2027-04-01T00:00:00Z', '2027-05-01T00:00:00Z');
const february = subscribed(59_900n, month, '2028-02-01T00:00:00Z', '2028-03-01T00:00:00Z');
const leapDay = subscribed(29_900n, month, '2028-02-29T12:00:00Z', '2028-03-29T12:00:00Z');
const paid = (valueMinor: bigint, start = '2027-04-01T00:00:00Z'): PaidSpan => ({ valueMinor, start: at(start) });

/** Every amount was computed by hand, in kopecks; the first is the vector of design/1-domain.md. */
const upgrades: [
  name: string,
  from: SubscriptionState,
  to: TargetPrice,
  paid: PaidSpan,
  instant: string,
  expected: { credit: bigint; charge: bigint; due: bigint; end: string },
][] = [
  [
    '599 to 999 with 10 of 30 days left: 19966.67 and 33300',
    april,
    price(99_900n, month),
    paid(59_900n),
    '2027-04-21T00:00:00Z',
    { credit: 19_967n, charge: 33_300n, due: 13_333n, end: '2027-05-01T00:00:00Z' },
  ],
  [
    'in the middle of the month: two halves',
    april,
    price(99_900n, month),
    paid(59_900n),
    '2027-04-16T00:00:00Z',
    { credit: 29_950n, charge: 49_950n, due: 20_000n, end: '2027-05-01T00:00:00Z' },
  ],
  [
    'the first second: the whole difference',
    april,
    price(99_900n, month),
    paid(59_900n),
    '2027-04-01T00:00:00Z',
    { credit: 59_900n, charge: 99_900n, due: 40_000n, end: '2027-05-01T00:00:00Z' },
  ],
  [
    'after a partial refund of 200: only 399 were paid, a third of them is 133',
    april,
    price(99_900n, month),
    paid(39_900n),
    '2027-04-21T00:00:00Z',
    { credit: 13_300n, charge: 33_300n, due: 20_000n, end: '2027-05-01T00:00:00Z' },
  ],
  [
    'after a discount of a half: 299.50 were paid',
    april,
    price(99_900n, month),
    paid(29_950n),
    '2027-04-16T00:00:00Z',
    { credit: 14_975n, charge: 49_950n, due: 34_975n, end: '2027-05-01T00:00:00Z' },
  ],
  [
    'after an upgrade: what was bought on the 16th for 499.50 is half used on 23 April, noon',
    subscribed(99_900n, month, '2027-04-01T00:00:00Z', '2027-05-01T00:00:00Z'),
    price(199_900n, month),
    paid(49_950n, '2027-04-16T00:00:00Z'),
    '2027-04-23T12:00:00Z',
    { credit: 24_975n, charge: 49_975n, due: 25_000n, end: '2027-05-01T00:00:00Z' },
  ],
  [
    'the last second: 0.023 and 0.039 kopecks are nothing',
    april,
    price(99_900n, month),
    paid(59_900n),
    '2027-04-30T23:59:59Z',
    { credit: 0n, charge: 0n, due: 0n, end: '2027-05-01T00:00:00Z' },
  ],
  [
    'a last second that costs: 25,920.00 to 51,840.00 is one kopeck',
    subscribed(2_592_000n, month, '2027-04-01T00:00:00Z', '2027-05-01T00:00:00Z'),
    price(5_184_000n, month),
    paid(2_592_000n),
    '2027-04-30T23:59:59Z',
    { credit: 1n, charge: 2n, due: 1n, end: '2027-05-01T00:00:00Z' },
  ],
  [
    'monthly to yearly in the middle of the month: a new year begins, half of 599 is taken off',
    april,
    price(599_000n, [1, 'year']),
    paid(59_900n),
    '2027-04-16T00:00:00Z',
    { credit: 29_950n, charge: 599_000n, due: 569_050n, end: '2028-04-16T00:00:00Z' },
  ],
  [
    'monthly to yearly on 29 February: the year ends on the 28th',
    leapDay,
    price(299_000n, [1, 'year']),
    paid(29_900n, '2028-02-29T12:00:00Z'),
    '2028-02-29T12:00:00Z',
    { credit: 29_900n, charge: 299_000n, due: 269_100n, end: '2029-02-28T12:00:00Z' },
  ],
  [
    'a February of 29 days: one day of 29 is left on the 29th: 2065.52 and 3444.83',
    february,
    price(99_900n, month),
    paid(59_900n, '2028-02-01T00:00:00Z'),
    '2028-02-29T00:00:00Z',
    { credit: 2_066n, charge: 3_445n, due: 1_379n, end: '2028-03-01T00:00:00Z' },
  ],
  [
    'twelve months to a dearer year: the same interval, so the period stays',
    subscribed(300_000n, [12, 'month'], '2027-01-01T00:00:00Z', '2028-01-01T00:00:00Z'),
    price(600_000n, [1, 'year']),
    paid(300_000n, '2027-01-01T00:00:00Z'),
    '2027-10-20T00:00:00Z',
    { credit: 60_000n, charge: 120_000n, due: 60_000n, end: '2028-01-01T00:00:00Z' },
  ],
];
for (const [name, from, to, span, instant, expected] of upgrades) {
  test(`what an upgrade costs: ${name}`, (t) => {
    const quote = quotePlanChange(from, to, span, at(instant), 1n);
    t.is(quote.timing, 'now');
    t.deepEqual(
      {
        credit: quote.credit.amountMinor,
        charge: quote.charge.amountMinor,
        due: quote.due.amountMinor,
        end: quote.period.end.toString(),
      },
      expected,
    );
    t.is(quote.nextCharge.amountMinor, to.amount.amountMinor);
  });
}

const later: [name: string, from: SubscriptionState, to: TargetPrice][] = [
  ['a cheaper plan', april, price(29_900n, month)],
  ['another plan at the same price', april, price(59_900n, month)],
  ['a shorter interval, even a dearer one', april, price(99_900n, [3, 'week'])],
  ['a longer interval that costs less', april, price(50_000n, [3, 'month'])],
  [
    'a longer interval that would end before the time that was given',
    subscribed(59_900n, month, '2027-04-01T00:00:00Z', '2027-12-01T00:00:00Z'),
    price(99_900n, [3, 'month']),
  ],
];
for (const [name, from, to] of later) {
  test(`at the end of the period, for nothing now: ${name}`, (t) => {
    const quote = quotePlanChange(from, to, paid(59_900n), at('2027-04-16T00:00:00Z'), 1n);
    t.is(quote.timing, 'at-period-end');
    t.true(quote.effectiveAt.equals(from.currentPeriodEnd!));
    t.deepEqual(
      [quote.credit, quote.charge, quote.due].map(({ amountMinor }) => amountMinor),
      [0n, 0n, 0n],
    );
  });
}

test('in a trial every change is free and at once, and the end of the trial stays', (t) => {
  const trial: SubscriptionState = { ...april, status: 'TRIALING', cycle: -1 };
  const quote = quotePlanChange(trial, price(999_000n, [1, 'year']), undefined, at('2027-04-16T00:00:00Z'), 1n);
  t.deepEqual([quote.timing, quote.due.amountMinor, quote.charge.amountMinor], ['now', 0n, 0n]);
  t.true(quote.period.end.equals(april.currentPeriodEnd!));
});

test('less than the payment system charges is waived, and the least that it does charge is not', (t) => {
  const dueWith = (minimumMinor: bigint) =>
    quotePlanChange(april, price(99_900n, month), paid(59_900n), at('2027-04-21T00:00:00Z'), minimumMinor).due
      .amountMinor;
  t.deepEqual([dueWith(13_333n), dueWith(13_334n)], [13_333n, 0n]);
});
