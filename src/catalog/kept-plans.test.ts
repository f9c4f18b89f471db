import test from 'ava';
import { keepPlans } from './kept-plans.ts';

/** A catalogue whose loads are counted, under a clock that the test moves. */
function catalogue() {
  let nowMs = 1_000;
  let loads = 0;
  const kept = keepPlans<string>(() => nowMs);
  return {
    kept,
    get loads() {
      return loads;
    },
    list: (currencyCode = 'RUB') => kept.get(currencyCode, () => Promise.resolve(`${currencyCode} ${++loads}`)),
    pass: (ms: number) => void (nowMs += ms),
  };
}

test('a list is read once in half a second, and anew after it: what another replica archived is gone by then', async (t) => {
  const plans = catalogue();
  t.deepEqual(await Promise.all([plans.list(), plans.list()]), ['RUB 1', 'RUB 1']);
  plans.pass(499);
  t.is(await plans.list(), 'RUB 1');
  plans.pass(1);
  t.is(await plans.list(), 'RUB 2');
});

test('the half second counts from before the list was read, not from when it came', async (t) => {
  const plans = catalogue();
  const slow = Promise.withResolvers<string>();
  const first = plans.kept.get('RUB', () => slow.promise);
  plans.pass(500);
  slow.resolve('slow');
  t.is(await first, 'slow');
  t.is(await plans.list(), 'RUB 1');
});

test('after a change of this process nobody gets what was read before it, nor what was on its way', async (t) => {
  const plans = catalogue();
  const slow = Promise.withResolvers<string>();
  const before = plans.kept.get('RUB', () => slow.promise);
  plans.kept.forget();
  t.is(await plans.list(), 'RUB 1');
  slow.resolve('stale');
  t.is(await before, 'stale');
  t.is(await plans.list(), 'RUB 1');
});

test('a failure is not kept, and currencies do not mix', async (t) => {
  const plans = catalogue();
  await t.throwsAsync(
    plans.kept.get('RUB', () => Promise.reject(new Error('no database'))),
    { message: 'no database' },
  );
  t.is(await plans.list('RUB'), 'RUB 1');
  t.is(await plans.list('EUR'), 'EUR 2');
  t.is(await plans.list('RUB'), 'RUB 1');
});

test('whoever asks for ever new currencies takes no memory', async (t) => {
  const plans = catalogue();
  for (let n = 0; n < 1_000; n++) await plans.list(`X${n}`);
  t.is(plans.loads, 1_000);
  // The list of 31 others and its own are kept: the 33rd cleared them.
  t.is(await plans.list('X999'), 'X999 1000');
});
