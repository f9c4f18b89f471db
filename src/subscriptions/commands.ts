import { BillingError } from '../lib/billing-error.ts';
import { requireNoDispute } from './dispute-rules.ts';
import { addDays, change, ended, trialReminderAt, type SubscriptionChange } from './lifecycle.ts';
import { illegalTransition, requireTransition } from './state-table.ts';
import type { SubscriptionState } from './subscription.ts';

/**
 * T16, T17, T20: a cancellation. A subscription that owes money ends at once either way. An unpaid one (T4) is ended at
 * the provider first, by end-checkout.ts.
 */
export function cancel(
  state: SubscriptionState,
  effective: 'at-period-end' | 'now',
  reason: string,
  now: Temporal.Instant,
): SubscriptionChange {
  const { to } = requireTransition(state, effective === 'now' ? 'cancel-now' : 'cancel-at-period-end');
  if (to === 'CANCELED') {
    const after: SubscriptionState = { ...ended(state, now), status: to, canceledAt: now };
    return change(state, after, 'CANCELED', reason, 'REVOKED');
  }
  const after: SubscriptionState = {
    ...state,
    cancelAtPeriodEnd: true,
    canceledAt: now,
    scheduledPriceId: null,
    nextChargeAt: null,
    nextTransitionAt: state.currentPeriodEnd,
  };
  return change(state, after, 'CANCELLATION_SCHEDULED', reason, 'CANCELLATION_SCHEDULED');
}

/** T18: undoes a scheduled cancellation, before the period's end. */
export function resume(state: SubscriptionState, now: Temporal.Instant, reason = ''): SubscriptionChange {
  requireTransition(state, 'resume');
  requireMethod(state);
  if (Temporal.Instant.compare(now, state.currentPeriodEnd!) >= 0) throw illegalTransition(state, 'resume');
  const after: SubscriptionState = {
    ...state,
    cancelAtPeriodEnd: false,
    canceledAt: null,
    nextChargeAt: state.renewalBlocked ? null : state.currentPeriodEnd,
    nextTransitionAt: state.renewalBlocked ? state.currentPeriodEnd : reminderOf(state),
  };
  return change(state, after, 'CANCELLATION_UNDONE', reason || 'RESUMED', 'CANCELLATION_UNDONE');
}

/**
 * T25: an operator gives time. The new end is the new anchor, so that the viewer's later periods start there.
 */
export function extendPeriod(state: SubscriptionState, days: number, reason: string): SubscriptionChange {
  requireTransition(state, 'extend');
  const end = addDays(state.currentPeriodEnd!, days, state.billingTimeZone);
  const after: SubscriptionState = {
    ...state,
    anchorAt: end,
    anchorCycle: state.cycle + 1,
    currentPeriodEnd: end,
    nextChargeAt: state.nextChargeAt && end,
    nextTransitionAt: state.nextTransitionAt && end,
  };
  return change(state, after, 'PERIOD_EXTENDED', reason, 'EXTENDED');
}

/** A trial that goes on after all is told of anew. */
function reminderOf({ status, currentPeriodEnd }: SubscriptionState): Temporal.Instant | null {
  return status === 'TRIALING' ? trialReminderAt(currentPeriodEnd!) : null;
}

/** T13: another method from now on; a subscription that owes money is charged with it at once, the deadlines stay. */
export function changeMethod(state: SubscriptionState, methodId: string, now: Temporal.Instant): SubscriptionChange {
  requireTransition(state, 'change-method');
  const after: SubscriptionState = {
    ...state,
    paymentMethodId: methodId,
    nextChargeAt: state.status === 'PAST_DUE' && !state.renewalBlocked ? now : state.nextChargeAt,
  };
  const lease = state.paymentMethodId === null ? 'EXTENDED' : undefined;
  if (lease) return change(state, after, 'PAYMENT_METHOD_CHANGED', 'METHOD_SAVED', lease);
  return { before: state, after, kind: 'PAYMENT_METHOD_CHANGED', reason: 'METHOD_SAVED', entitlement: undefined };
}

/**
 * T27: the viewer has removed the method. Nothing is charged to it any more, and never to another one without consent:
 * what would renew ends with its period; what owes money keeps its deadlines.
 */
export function removeMethod(state: SubscriptionState, reason: string, now: Temporal.Instant): SubscriptionChange {
  requireTransition(state, 'remove-method');
  const without = { ...state, paymentMethodId: null, nextChargeAt: null };
  if (state.status === 'PAST_DUE') {
    return { before: state, after: without, kind: 'PAYMENT_METHOD_REMOVED', reason, entitlement: undefined };
  }
  const after: SubscriptionState = {
    ...without,
    cancelAtPeriodEnd: true,
    canceledAt: state.canceledAt ?? now,
    scheduledPriceId: null,
    nextTransitionAt: state.currentPeriodEnd,
  };
  return change(state, after, 'PAYMENT_METHOD_REMOVED', reason, 'CANCELLATION_SCHEDULED');
}

/** RetryPayment: the next attempt comes now instead of on its day of the ladder; the deadlines stay. */
export function retryPayment(state: SubscriptionState, reason: string, now: Temporal.Instant): SubscriptionChange {
  requireTransition(state, 'retry-payment');
  requireNoDispute(state);
  requireMethod(state);
  const after: SubscriptionState = { ...state, nextChargeAt: now };
  return { before: state, after, kind: 'RETRY_REQUESTED', reason, entitlement: undefined };
}

/** Nothing can be charged without a method, and no other one is ever taken without consent. Throws PAYMENT_METHOD_REQUIRED. */
export function requireMethod(state: SubscriptionState): void {
  if (state.paymentMethodId !== null) return;
  throw new BillingError(
    'wrong-state',
    'PAYMENT_METHOD_REQUIRED',
    'the subscription has no payment method: save one first',
  );
}
