import { requireMethod } from './commands.ts';
import type { BillingPeriod } from './billing-period.ts';
import { change, type SubscriptionChange } from './lifecycle.ts';
import { isSameInterval, type PlanChangeQuote, type TargetPrice } from './plan-change-quote.ts';
import { findTransition, requireTransition } from './state-table.ts';
import type { SubscriptionState } from './subscription.ts';

/** T21: an upgrade has to be paid first; until that is decided, or given up, nothing else is charged. */
export function startPlanChange(state: SubscriptionState, paymentId: string, reason: string): SubscriptionChange {
  requireTransition(state, 'change-plan-now');
  requireMethod(state);
  const after: SubscriptionState = { ...state, openPaymentId: paymentId };
  return { before: state, after, kind: 'PLAN_CHANGE_STARTED', reason, entitlement: undefined };
}

/** T21: a change that costs nothing now: in a trial, or in the last seconds of a period. */
export function changePlanFree(
  state: SubscriptionState,
  target: TargetPrice,
  { period }: PlanChangeQuote,
  reason: string,
): SubscriptionChange {
  requireTransition(state, 'change-plan-now');
  return change(state, switched(state, target, period), 'PLAN_CHANGED', reason, 'PLAN_CHANGED');
}

/** T21: the upgrade is paid. `period` is the one that was frozen with the payment. */
export function finishPlanChange(
  state: SubscriptionState,
  target: TargetPrice,
  period: Pick<BillingPeriod, 'start' | 'end'>,
): SubscriptionChange {
  requireTransition(state, 'change-paid');
  const paid = { ...switched(state, target, { ...period, cycle: state.cycle + 1 }), openPaymentId: null };
  return change(state, paid, 'PLAN_CHANGED', 'PAYMENT_SUCCEEDED', 'PLAN_CHANGED');
}

/** T21: the upgrade was declined, or its time is over: the old plan stays, and what is due may be charged again. */
export function failPlanChange(state: SubscriptionState, paymentId: string, reason: string): SubscriptionChange[] {
  if (!findTransition(state, 'change-failed')) return [];
  const openPaymentId = state.openPaymentId === paymentId ? null : state.openPaymentId;
  const after: SubscriptionState = { ...state, openPaymentId };
  return [{ before: state, after, kind: 'PLAN_CHANGE_FAILED', reason, entitlement: undefined }];
}

/** T22: another price from the end of the period on; the present one asked for again drops what was to come. */
export function schedulePlanChange(state: SubscriptionState, priceId: string, reason: string): SubscriptionChange {
  requireTransition(state, 'change-plan-at-period-end');
  const isDropped = priceId === state.priceId;
  const after: SubscriptionState = { ...state, scheduledPriceId: isDropped ? null : priceId };
  const kind = isDropped ? 'PLAN_CHANGE_DROPPED' : 'PLAN_CHANGE_SCHEDULED';
  return { before: state, after, kind, reason, entitlement: undefined };
}

/** What the next cycle costs, where it is not the present price: what was asked for, else what was announced in time. */
export function nextPriceId(state: SubscriptionState): string | undefined {
  if (state.scheduledPriceId !== null) return state.scheduledPriceId;
  const { announcedPriceId, announcedPriceFrom, currentPeriodEnd } = state;
  if (announcedPriceId === null || currentPeriodEnd === null) return undefined;
  return Temporal.Instant.compare(currentPeriodEnd, announcedPriceFrom!) >= 0 ? announcedPriceId : undefined;
}

/** Another price of the plan, for the first cycle that is due at `appliesFrom` or later; a later notice replaces it. */
export function announcePrice(
  state: SubscriptionState,
  { priceId, appliesFrom }: { priceId: string; appliesFrom: Temporal.Instant },
  reason: string,
): SubscriptionChange {
  const after: SubscriptionState = { ...state, announcedPriceId: priceId, announcedPriceFrom: appliesFrom };
  return { before: state, after, kind: 'PRICE_CHANGE_ANNOUNCED', reason, entitlement: undefined };
}

/**
 * T22: the period is over, and what was scheduled, or announced, applies, whatever becomes of the payment that follows. Another interval
 * is counted from this boundary.
 */
export function takeUpNextPrice(state: SubscriptionState, target: TargetPrice): SubscriptionChange {
  const anchored: SubscriptionState = isSameInterval(state, target)
    ? state
    : { ...state, anchorAt: state.currentPeriodEnd, anchorCycle: state.cycle + 1 };
  const after = priced(anchored, target);
  if (target.planCode !== state.planCode) return change(state, after, 'PLAN_CHANGED', 'SCHEDULED', 'PLAN_CHANGED');
  // Only the price is another one, which is nothing to Auth.
  const reason = state.scheduledPriceId === null ? 'PRICE_MOVED' : 'SCHEDULED';
  return { before: state, after, kind: 'PLAN_CHANGED', reason, entitlement: undefined };
}

/** With another interval, the paid period begins anew with the change, and so does the counting. */
function switched(state: SubscriptionState, target: TargetPrice, period: BillingPeriod): SubscriptionState {
  const after = priced(state, target);
  if (state.status === 'TRIALING' || isSameInterval(state, target)) return after;
  const endsThere = state.cancelAtPeriodEnd || state.renewalBlocked;
  return {
    ...after,
    anchorAt: period.start,
    anchorCycle: period.cycle,
    cycle: period.cycle,
    currentPeriodStart: period.start,
    currentPeriodEnd: period.end,
    nextChargeAt: endsThere ? null : period.end,
    nextTransitionAt: endsThere ? period.end : null,
  };
}

function priced(state: SubscriptionState, target: TargetPrice): SubscriptionState {
  const { priceId, planCode, features, amount, intervalUnit, intervalCount } = target;
  const nothingToCome = { scheduledPriceId: null, announcedPriceId: null, announcedPriceFrom: null };
  return { ...state, priceId, planCode, features, amount, intervalUnit, intervalCount, ...nothingToCome };
}
