import type { CallContext } from '../identity/call-context.ts';
import { changePlan, type PlanChangeInput } from './change-plan.ts';
import { checkPrices, insertPrices, type NewPrice } from './new-price.ts';
import type { PlanView } from './plan-view.ts';

/**
 * Adds a price; whoever subscribed keeps theirs. Throws PLAN_NOT_FOUND, ETAG_MISMATCH, and what `checkPrices` throws.
 */
export async function addPrice(
  ctx: CallContext,
  input: PlanChangeInput & { price: NewPrice },
): Promise<{ plan: PlanView; priceId: string }> {
  const { plan, priceId } = await changePlan(ctx, 'AddPrice', input, async (tx, before, now) => {
    checkPrices([input.price], before.prices);
    const [priceId] = await insertPrices(tx, input.planId, [input.price], now);
    return { priceId: priceId! };
  });
  return { plan: plan!, priceId };
}
