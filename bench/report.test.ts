import test from 'ava';
import type { Bench } from './bench.ts';
import { spread, summarize } from './report.ts';

const bench: Bench = {
  title: '',
  units: { ours: '1/s', floor: '1/s' },
  ratios: {
    of_floor: { of: ({ ours, floor }) => ours! / floor!, bar: { at_least: 0.85 } },
    most: { of: ({ ours }) => ours!, bar: { at_most: 60 } },
  },
  prepare: () => Promise.reject(new Error('never prepared')),
};

test('a ratio is the median of the rounds’ own ratios, not the ratio of medians', (t) => {
  const rounds = [
    { ours: 10, floor: 10 },
    { ours: 20, floor: 100 },
    { ours: 90, floor: 100 },
  ];
  const { ratios, results } = summarize(bench, rounds);
  t.deepEqual(ratios['of_floor'], { value: 0.9, min: 0.2, max: 1, at_least: 0.85, holds: true });
  t.deepEqual(results['ours'], { median: 20, min: 10, max: 90, unit: '1/s' });
});

test('a bar that is not reached does not hold, in either direction', (t) => {
  const { ratios } = summarize(bench, [{ ours: 61, floor: 100 }]);
  t.false(ratios['of_floor']!.holds);
  t.false(ratios['most']!.holds);
});

test('the median of an even number of values is the mean of the middle two; of none there is none', (t) => {
  t.deepEqual(spread([4, 1, 3, 2]), { median: 2.5, min: 1, max: 4 });
  t.throws(() => spread([]));
});
