import { sql } from 'kysely';
import type { EntityManager } from '../db/orm.ts';
import type { Money } from '../lib/money.ts';
import type { PaymentsContext } from '../payments/providers.ts';
import { nextCharges } from './next-charge.ts';
import { nextPriceId } from './plan-change.ts';
import type { SubscriptionState } from './subscription.ts';
import { findTargetPrices } from './target-price.ts';

/** What a viewer should know of a charge before it comes. */
export interface UpcomingCharge {
  readonly amount: Money;
  readonly cardBrand: string;
  readonly cardLast4: string;
  /** The last month in which the card is good. */
  readonly expiry: Temporal.PlainYearMonth;
}

/**
 * What each subscription's next cycle will cost, at the price that applies then and less what its promo code takes off,
 * and the card that will pay it; by the subscription's id. One without a method is left out.
 */
export async function upcomingCharges(
  ctx: Pick<PaymentsContext, 'providers'>,
  tx: EntityManager,
  states: readonly SubscriptionState[],
): Promise<Map<string, UpcomingCharge>> {
  const targets = await findTargetPrices(
    tx,
    states.flatMap((state) => nextPriceId(state) ?? []),
  );
  const amounts = await nextCharges(
    ctx,
    tx,
    states.map((state) => {
      const { planCode, amount } = targets.get(nextPriceId(state) ?? '') ?? state;
      return { id: state.id, paymentMethodId: state.paymentMethodId, planCode, amount };
    }),
  );
  const cards = await findCards(
    tx,
    states.flatMap(({ paymentMethodId }) => paymentMethodId ?? []),
  );
  return new Map(
    states.flatMap(({ id, paymentMethodId }) => {
      const card = cards.get(paymentMethodId ?? '');
      return card ? [[id, { amount: amounts.get(id)!, ...card }] as const] : [];
    }),
  );
}

async function findCards(
  tx: EntityManager,
  methodIds: readonly string[],
): Promise<Map<string, Omit<UpcomingCharge, 'amount'>>> {
  const { rows } = await sql<{ id: string; brand: string; last4: string; expiry_year: number; expiry_month: number }>`
    select id, brand, last4, expiry_year, expiry_month from payment_method where id = any(${methodIds}::uuid[])
  `.execute(tx.getKysely());
  return new Map(
    rows.map(({ id, brand: cardBrand, last4: cardLast4, expiry_year: year, expiry_month: month }) => [
      id,
      { cardBrand, cardLast4, expiry: Temporal.PlainYearMonth.from({ year, month }) },
    ]),
  );
}
