import { sql } from 'kysely';
import type { EntityManager } from '../db/orm.ts';
import { BillingError } from '../lib/billing-error.ts';
import { newId } from '../lib/ids.ts';
import type { Money } from '../lib/money.ts';
import type { IntervalUnit } from './plan.ts';

/** A price that does not exist yet. */
export interface NewPrice {
  readonly amount: Money;
  readonly intervalUnit: IntervalUnit;
  readonly intervalCount: number;
}

/**
 * D10: a failed renewal is retried for 14 days, and an outcome may be looked up for a day beyond; the next renewal has
 * to come later, or two would be open at once.
 */
export const intervalMinDays = 16;

/** The fewest days that a unit can have. */
const unitMinDays: Record<IntervalUnit, number> = { day: 1, week: 7, month: 28, year: 365 };

/**
 * Checks prices before they are written. Throws PRICE_INVALID for an amount that is not above zero or a currency that
 * ISO 4217 does not have, PRICE_INTERVAL_TOO_SHORT (D10), PRICE_EXISTS for the same one twice.
 */
export function checkPrices(prices: readonly NewPrice[], existing: readonly NewPrice[]): void {
  const known = new Set(existing.map(keyOf));
  for (const price of prices) {
    const { currencyCode, amountMinor } = price.amount;
    if (amountMinor <= 0n) throw priceInvalid('a price is more than nothing; a gift is granted instead');
    if (!Intl.supportedValuesOf('currency').includes(currencyCode)) {
      throw priceInvalid(`${currencyCode} is not a currency of ISO 4217`);
    }
    if (unitMinDays[price.intervalUnit] * price.intervalCount < intervalMinDays) {
      throw new BillingError(
        'invalid',
        'PRICE_INTERVAL_TOO_SHORT',
        `an interval has at least ${intervalMinDays} days: a failed renewal is retried for 14 days before the next one`,
        { metadata: { interval_min_days: String(intervalMinDays) } },
      );
    }
    if (known.has(keyOf(price))) {
      throw new BillingError('exists', 'PRICE_EXISTS', 'the plan has this price already');
    }
    known.add(keyOf(price));
  }
}

/** Writes prices that were checked. Gives their ids. */
export async function insertPrices(
  tx: EntityManager,
  planId: string,
  prices: readonly NewPrice[],
  now: Temporal.Instant,
): Promise<string[]> {
  const ids = prices.map(() => newId());
  for (const [index, { amount, intervalUnit, intervalCount }] of prices.entries()) {
    await sql`
      insert into price (id, plan_id, currency_code, amount_minor, interval_unit, interval_count, created_at)
      values (${ids[index]}, ${planId}, ${amount.currencyCode}, ${amount.amountMinor}, ${intervalUnit},
        ${intervalCount}, ${now.toString()})
    `.execute(tx.getKysely());
  }
  return ids;
}

function keyOf({ amount, intervalUnit, intervalCount }: NewPrice): string {
  return `${amount.amountMinor} ${amount.currencyCode} ${intervalCount} ${intervalUnit}`;
}

function priceInvalid(text: string): BillingError {
  return new BillingError('invalid', 'PRICE_INVALID', text);
}
