import { businessNow } from '../db/clock.ts';
import { onceOrRehearsed } from '../identity/once-or-rehearsed.ts';
import { requestKey } from '../identity/once.ts';
import { BillingError } from '../lib/billing-error.ts';
import { auditChange } from './audit-change.ts';
import { extendPeriod as extend } from './commands.ts';
import { requireVisible } from './find-subscription.ts';
import { lockSubscriptions, storeChanges, type SubscriptionsContext } from './subscription-rows.ts';
import type { SubscriptionState } from './subscription.ts';

export interface ExtendPeriodInput {
  requestId: string;
  subscriptionId: string;
  /** 1 to 366. */
  days: number;
  reason: string;
  /** Only say what would be. */
  validateOnly?: boolean;
}

/**
 * T25: an operator gives time; the new end of the period is the anchor of all later ones. Throws SUBSCRIPTION_NOT_FOUND,
 * ILLEGAL_TRANSITION, PAYMENT_OUTCOME_PENDING while a renewal is being paid.
 */
export async function extendPeriod(ctx: SubscriptionsContext, input: ExtendPeriodInput): Promise<SubscriptionState> {
  const { requestId, validateOnly = false, ...asked } = input;
  const key = requestKey(ctx, 'ExtendPeriod', requestId, asked);
  const extended = await onceOrRehearsed(ctx, key, validateOnly, async (tx) => {
    const { subscriptionId, days, reason } = input;
    const state = requireVisible(ctx, (await lockSubscriptions(tx, [subscriptionId])).get(subscriptionId));
    if (state.openPaymentId !== null) throw outcomePending();
    const change = extend(state, days, reason);
    const now = await businessNow(tx);
    await storeChanges(ctx, tx, [change], now);
    await auditChange(ctx, tx, 'ExtendPeriod', change, now);
    return change.after;
  });
  ctx.wake('relay');
  return extended;
}

/** T23: nothing that depends on it is done while money may be on its way. */
export function outcomePending(): BillingError {
  return new BillingError(
    'wrong-state',
    'PAYMENT_OUTCOME_PENDING',
    'the outcome of a payment is not known yet; try again when it is',
  );
}
