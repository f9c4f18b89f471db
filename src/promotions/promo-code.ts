import { sql, type RawBuilder } from 'kysely';
import { instantFromRow, optionalInstantFromRow } from '../db/instant-type.ts';
import type { EntityManager } from '../db/orm.ts';
import { BillingError } from '../lib/billing-error.ts';
import type { Money } from '../lib/money.ts';

/** What a code takes off a cycle: a share of the price, or an amount. Never changes once it exists. */
export type DiscountTerms =
  | { readonly percentOff: number; readonly amountOff?: undefined }
  | { readonly percentOff?: undefined; readonly amountOff: Money };

/** A promo code as operators see it. */
export interface PromoCode {
  readonly id: string;
  /** What viewers type, in capitals. */
  readonly code: string;
  readonly terms: DiscountTerms;
  /** How many charged cycles of a subscription it makes cheaper. */
  readonly cycles: number;
  /** The only plan that it is for; undefined for all. */
  readonly plan: { readonly id: string; readonly code: string } | undefined;
  /** How many viewers may redeem it; undefined for any number. */
  readonly redemptionsMax: number | undefined;
  /** How many have, those among them who have not paid yet. */
  readonly redemptions: number;
  /** Nobody redeems it from then on; who has it keeps it. */
  readonly endsAt: Temporal.Instant | null;
  readonly createdAt: Temporal.Instant;
}

interface PromoCodeRow {
  id: string;
  code: string;
  percent_off: number | null;
  amount_off_minor: string | null;
  currency_code: string | null;
  cycles: number;
  plan_id: string | null;
  plan_code: string | null;
  redemptions_max: number | null;
  redemptions: number;
  ends_at: string | null;
  created_at: string;
}

/**
 * What the terms take off a price, in minor units: a percentage is rounded half up (D8), and no discount takes a payment
 * below the least that the payment system charges. 0n where nothing can be taken off.
 */
export function discountOf(terms: DiscountTerms, amountMinor: bigint, minimumMinor: bigint): bigint {
  const wanted =
    terms.percentOff === undefined
      ? terms.amountOff.amountMinor
      : (2n * amountMinor * BigInt(terms.percentOff) + 100n) / 200n;
  const most = amountMinor - minimumMinor;
  if (most <= 0n) return 0n;
  return wanted < most ? wanted : most;
}

/** The terms of columns, one of which is null. */
export function termsOf(row: Pick<PromoCodeRow, 'percent_off' | 'amount_off_minor' | 'currency_code'>): DiscountTerms {
  if (row.percent_off !== null) return { percentOff: row.percent_off };
  return { amountOff: { currencyCode: row.currency_code!, amountMinor: BigInt(row.amount_off_minor!) } };
}

/** Reads codes in the order of the ids; a missing one is left out. */
export async function readPromoCodes(em: EntityManager, ids: readonly string[]): Promise<PromoCode[]> {
  const { rows } = await sql<PromoCodeRow>`
    select c.id, c.code, c.percent_off, c.amount_off_minor, c.currency_code, c.cycles, c.plan_id, plan.code as plan_code,
      c.redemptions_max, c.ends_at, c.created_at, (${redemptionsOf(sql`c.id`)}) as redemptions
    from promo_code c left join plan on plan.id = c.plan_id where c.id = any(${ids}::uuid[])
  `.execute(em.getKysely());
  const byId = new Map(rows.map((row) => [row.id, row]));
  return ids.flatMap((id) => {
    const row = byId.get(id);
    return row ? [promoCodeOf(row)] : [];
  });
}

/** Counts who has a code; a subscription that was never paid gives its redemption back. */
export function redemptionsOf(promoCodeId: RawBuilder<unknown>): RawBuilder<unknown> {
  return sql`select count(*)::int from promo_redemption r join subscription s on s.id = r.subscription_id
    where r.promo_code_id = ${promoCodeId} and s.status <> 'INCOMPLETE_EXPIRED'`;
}

/** The error for a code that nobody made, or that a viewer mistyped. */
export function promoCodeNotFound(): BillingError {
  return new BillingError('not-found', 'PROMO_CODE_NOT_FOUND', 'no such promo code');
}

function promoCodeOf(row: PromoCodeRow): PromoCode {
  return {
    id: row.id,
    code: row.code,
    terms: termsOf(row),
    cycles: row.cycles,
    plan: row.plan_id === null ? undefined : { id: row.plan_id, code: row.plan_code! },
    redemptionsMax: row.redemptions_max ?? undefined,
    redemptions: row.redemptions,
    endsAt: optionalInstantFromRow(row.ends_at),
    createdAt: instantFromRow(row.created_at),
  };
}
