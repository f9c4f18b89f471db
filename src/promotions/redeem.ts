import { sql } from 'kysely';
import { businessNow } from '../db/clock.ts';
import { optionalInstantFromRow } from '../db/instant-type.ts';
import type { EntityManager } from '../db/orm.ts';
import { BillingError } from '../lib/billing-error.ts';
import type { Money } from '../lib/money.ts';
import { insertAdjustments, type Discount } from './discounts.ts';
import { discountOf, promoCodeNotFound, redemptionsOf, termsOf } from './promo-code.ts';

/** What a viewer wants to redeem a code for. */
export interface AskedDiscount {
  /** As the viewer typed it; any case. */
  readonly code: string;
  readonly userId: string;
  /** The price that is taken out. */
  readonly price: { readonly planId: string; readonly amount: Money };
  /** The least that the payment system charges. */
  readonly minimumMinor: bigint;
}

/** A discount that a viewer may have, from the first charged cycle on. */
export interface Redeemable extends Discount {
  /** How many cycles. */
  readonly cycles: number;
}

interface Row {
  id: string;
  code: string;
  percent_off: number | null;
  amount_off_minor: string | null;
  currency_code: string | null;
  cycles: number;
  plan_id: string | null;
  redemptions_max: number | null;
  ends_at: string | null;
}

type Obstacle = 'ENDED' | 'PLAN' | 'CURRENCY' | 'ALREADY_REDEEMED' | 'LIMIT_REACHED' | 'PRICE_TOO_LOW';

const obstacleTexts: Record<Obstacle, string> = {
  ENDED: 'the promo code has ended',
  PLAN: 'the promo code is for another plan',
  CURRENCY: 'the promo code is for another currency',
  ALREADY_REDEEMED: 'the viewer has redeemed this promo code before',
  LIMIT_REACHED: 'the promo code was redeemed as often as it may be',
  PRICE_TOO_LOW: 'nothing can be taken off this price',
};

/**
 * What a code takes off a price for a viewer. The code's row is locked until the transaction ends: of two viewers who
 * want the last one, the second sees that it is gone. Throws PROMO_CODE_NOT_FOUND, and PROMO_CODE_NOT_APPLICABLE, whose
 * metadata names the obstacle.
 */
export async function requireRedeemable(tx: EntityManager, asked: AskedDiscount): Promise<Redeemable> {
  const { userId, price } = asked;
  const { rows } = await sql<Row>`
    select id, code, percent_off, amount_off_minor, currency_code, cycles, plan_id, redemptions_max, ends_at
    from promo_code where code = ${asked.code.toUpperCase()} for update
  `.execute(tx.getKysely());
  const row = rows[0];
  if (!row) throw promoCodeNotFound();
  const endsAt = optionalInstantFromRow(row.ends_at);
  if (endsAt && Temporal.Instant.compare(endsAt, await businessNow(tx)) <= 0) throw notApplicable('ENDED');
  if (row.plan_id !== null && row.plan_id !== price.planId) throw notApplicable('PLAN');
  const { currencyCode, amountMinor } = price.amount;
  if (row.currency_code !== null && row.currency_code !== currencyCode) throw notApplicable('CURRENCY');
  if (await hasRedeemed(tx, row.id, userId)) throw notApplicable('ALREADY_REDEEMED');
  if (row.redemptions_max !== null && (await countRedemptions(tx, row.id)) >= row.redemptions_max) {
    throw notApplicable('LIMIT_REACHED');
  }
  const discountMinor = discountOf(termsOf(row), amountMinor, asked.minimumMinor);
  if (discountMinor === 0n) throw notApplicable('PRICE_TOO_LOW');
  return { promoCodeId: row.id, code: row.code, discountMinor, cycles: row.cycles };
}

/**
 * Writes down that a new subscription has the discount, and the line on its first payment; undefined for a payment that
 * takes nothing, which leaves all cycles for later.
 */
export async function storeRedemption(
  tx: EntityManager,
  discount: Redeemable,
  { subscriptionId, userId, paymentId }: { subscriptionId: string; userId: string; paymentId: string | undefined },
  now: Temporal.Instant,
): Promise<void> {
  await sql`
    insert into promo_redemption (subscription_id, promo_code_id, user_id, redeemed_at)
    values (${subscriptionId}, ${discount.promoCodeId}, ${userId}, ${now.toString()})
  `.execute(tx.getKysely());
  if (paymentId !== undefined) await insertAdjustments(tx, [{ ...discount, paymentId }], now);
}

/** The code that a subscription was taken out with; undefined for none. */
export async function codeOfSubscription(tx: EntityManager, subscriptionId: string): Promise<string | undefined> {
  const { rows } = await sql<{ code: string }>`
    select c.code from promo_redemption r join promo_code c on c.id = r.promo_code_id
    where r.subscription_id = ${subscriptionId}
  `.execute(tx.getKysely());
  return rows[0]?.code;
}

async function hasRedeemed(tx: EntityManager, promoCodeId: string, userId: string): Promise<boolean> {
  const { rows } = await sql`
    ${redemptionsOf(sql`${promoCodeId}::uuid`)} and r.user_id = ${userId} having count(*) > 0
  `.execute(tx.getKysely());
  return rows.length > 0;
}

async function countRedemptions(tx: EntityManager, promoCodeId: string): Promise<number> {
  const { rows } = await sql<{ count: number }>`${redemptionsOf(sql`${promoCodeId}::uuid`)}`.execute(tx.getKysely());
  return rows[0]!.count;
}

function notApplicable(obstacle: Obstacle): BillingError {
  return new BillingError('wrong-state', 'PROMO_CODE_NOT_APPLICABLE', obstacleTexts[obstacle], {
    metadata: { obstacle },
  });
}
