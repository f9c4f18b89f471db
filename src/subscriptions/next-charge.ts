import type { EntityManager } from '../db/orm.ts';
import type { Money } from '../lib/money.ts';
import { minimumAmounts, type PaymentsContext } from '../payments/providers.ts';
import { findDiscounts } from '../promotions/discounts.ts';
import type { SubscriptionState } from './subscription.ts';

/** What the next cycle of each subscription costs at these prices, less what its promo code takes off; by id. */
export async function nextCharges(
  ctx: Pick<PaymentsContext, 'providers'>,
  tx: EntityManager,
  states: readonly Pick<SubscriptionState, 'id' | 'planCode' | 'amount' | 'paymentMethodId'>[],
): Promise<Map<string, Money>> {
  const discounts = await findDiscounts(tx, states, minimumAmounts(ctx));
  return new Map(
    states.map(({ id, amount }) => {
      const discountMinor = discounts.get(id)?.discountMinor ?? 0n;
      return [id, { ...amount, amountMinor: amount.amountMinor - discountMinor }];
    }),
  );
}

/** The same of one, as if it had the target's price already. */
export async function nextChargeAt(
  ctx: Pick<PaymentsContext, 'providers'>,
  tx: EntityManager,
  { id, paymentMethodId }: SubscriptionState,
  { planCode, amount }: Pick<SubscriptionState, 'planCode' | 'amount'>,
): Promise<Money> {
  return (await nextCharges(ctx, tx, [{ id, planCode, amount, paymentMethodId }])).get(id)!;
}
