import test from 'ava';
import { dunningDeadlines, nextRetryAt } from './dunning.ts';

const at = (text: string) => Temporal.Instant.from(text);
const subscriptions = [
  '0190a000-0000-7000-8000-000000000001',
  '0190a000-0000-7000-8000-000000000002',
  '0190a000-0000-7000-8000-000000000003',
];
/** First failed on 1 March at noon. */
const dunningEndsAt = at('2027-03-15T12:00:00Z');

test('grace is 7 days and the dunning 14, from the first failure', (t) => {
  const deadlines = dunningDeadlines(at('2027-03-01T12:00:00Z'));
  t.is(deadlines.graceUntil.toString(), '2027-03-08T12:00:00Z');
  t.is(deadlines.dunningEndsAt.toString(), '2027-03-15T12:00:00Z');
});

test('retries come 1, 3 and 7 days after the first failure, each up to 6 hours later, and exactly at the end', (t) => {
  const ladder = [
    ['2027-03-01T12:00:01Z', '2027-03-02T12:00:00Z', '2027-03-02T18:00:00Z'],
    ['2027-03-02T18:00:00Z', '2027-03-04T12:00:00Z', '2027-03-04T18:00:00Z'],
    ['2027-03-04T18:00:00Z', '2027-03-08T12:00:00Z', '2027-03-08T18:00:00Z'],
    ['2027-03-08T18:00:00Z', '2027-03-15T12:00:00Z', '2027-03-15T12:00:00Z'],
  ] as const;
  for (const id of subscriptions) {
    for (const [now, from, to] of ladder) {
      const retry = nextRetryAt(id, dunningEndsAt, at(now))!;
      t.true(Temporal.Instant.compare(retry, at(from)) >= 0, `${now}: ${retry}`);
      t.true(Temporal.Instant.compare(retry, at(to)) <= 0, `${now}: ${retry}`);
    }
  }
  t.is(nextRetryAt(subscriptions[0]!, dunningEndsAt, dunningEndsAt), undefined);
});

test('the jitter differs between subscriptions and is the same whenever it is asked for', (t) => {
  const retries = subscriptions.map((id) => nextRetryAt(id, dunningEndsAt, at('2027-03-01T12:00:01Z'))!.toString());
  t.is(new Set(retries).size, 3);
  // Hours, not seconds, after the day that was promised.
  for (const retry of retries) t.true(retry > '2027-03-02T12:10', retry);
  t.deepEqual(
    subscriptions.map((id) => nextRetryAt(id, dunningEndsAt, at('2027-03-02T11:59:59Z'))!.toString()),
    retries,
  );
});

test('what was missed while billing was away is not made up for: one retry, then the next day of the ladder', (t) => {
  const retry = nextRetryAt(subscriptions[0]!, dunningEndsAt, at('2027-03-09T00:00:00Z'))!;
  t.is(retry.toString(), '2027-03-15T12:00:00Z');
});
