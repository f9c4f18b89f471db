import test from 'ava';
import { discountOf } from './promo-code.ts';

const roubles = (amountMinor: bigint) => ({ amountOff: { currencyCode: 'RUB', amountMinor } });

test('a percentage is rounded half up, to the kopeck', (t) => {
  // 299.00 × 33 % = 98.67; 99.99 × 50 % = 49.995; 0.99 × 1 % = 0.0099; 5.50 × 1 % = 0.055.
  t.is(discountOf({ percentOff: 33 }, 29_900n, 1n), 9_867n);
  t.is(discountOf({ percentOff: 50 }, 9_999n, 1n), 5_000n);
  t.is(discountOf({ percentOff: 1 }, 99n, 1n), 1n);
  t.is(discountOf({ percentOff: 1 }, 49n, 1n), 0n);
  t.is(discountOf({ percentOff: 1 }, 550n, 1n), 6n);
});

test('no discount takes a payment below the least that the payment system charges', (t) => {
  t.is(discountOf(roubles(10_000n), 29_900n, 100n), 10_000n);
  t.is(discountOf(roubles(29_900n), 29_900n, 100n), 29_800n);
  t.is(discountOf(roubles(50_000n), 29_900n, 1n), 29_899n);
  t.is(discountOf({ percentOff: 99 }, 5_000n, 4_000n), 1_000n);
  t.is(discountOf({ percentOff: 50 }, 4_000n, 4_000n), 0n);
  t.is(discountOf({ percentOff: 50 }, 100n, 4_000n), 0n);
});
