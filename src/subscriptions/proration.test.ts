import test from 'ava';
import { unusedPart } from './proration.ts';

const at = (text: string) => Temporal.Instant.from(text);
const april = { start: at('2027-04-01T00:00:00Z'), end: at('2027-05-01T00:00:00Z') };

/** By hand: design/1-domain.md's vectors, and the edges. */
const table: [name: string, amountMinor: bigint, instant: string, left: bigint][] = [
  ['599.00 with 10 of 30 days left', 59_900n, '2027-04-21T00:00:00Z', 19_967n],
  ['999.00 with 10 of 30 days left', 99_900n, '2027-04-21T00:00:00Z', 33_300n],
  ['all of it at the start', 59_900n, '2027-04-01T00:00:00Z', 59_900n],
  ['all of it before the start', 59_900n, '2027-03-31T00:00:00Z', 59_900n],
  ['half a kopeck goes up', 1n, '2027-04-16T00:00:00Z', 1n],
  ['the last second of 30 days of 25,920.00', 2_592_000n, '2027-04-30T23:59:59Z', 1n],
  ['less than half a kopeck is nothing', 59_900n, '2027-04-30T23:59:59Z', 0n],
  ['nothing at the end', 59_900n, '2027-05-01T00:00:00Z', 0n],
  ['nothing after the end', 59_900n, '2027-05-02T00:00:00Z', 0n],
  ['milliseconds do not count', 259_200_000n, '2027-04-21T00:00:00.999Z', 86_400_000n],
  ['more than a double can hold', 9_007_199_254_740_993n, '2027-04-16T00:00:00Z', 4_503_599_627_370_497n],
];
for (const [name, amountMinor, instant, left] of table) {
  test(`the unused part: ${name}`, (t) => {
    t.is(unusedPart(amountMinor, april, at(instant)), left);
  });
}
