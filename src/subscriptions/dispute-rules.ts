import { BillingError } from '../lib/billing-error.ts';
import { change, ended, type SubscriptionChange, type SubscriptionEventKind } from './lifecycle.ts';
import { findTransition, requireTransition } from './state-table.ts';
import type { SubscriptionState } from './subscription.ts';

/**
 * T24: the bank has taken money of the subscription back. Nothing is charged until it is decided: what is paid for ends
 * with its period, what owes money keeps its deadlines.
 */
export function withdrawFunds(state: SubscriptionState, reason: string): SubscriptionChange {
  if (state.renewalBlocked || findTransition(state, 'funds-withdrawn') === undefined) {
    return noted(state, 'DISPUTE_OPENED', reason);
  }
  const isOwing = state.status === 'PAST_DUE';
  const after: SubscriptionState = {
    ...state,
    renewalBlocked: true,
    nextChargeAt: null,
    nextTransitionAt: isOwing ? state.nextTransitionAt : state.currentPeriodEnd,
  };
  if (isOwing) return { ...noted(state, 'DISPUTE_OPENED', reason), after };
  return change(state, after, 'DISPUTE_OPENED', reason, 'CANCELLATION_SCHEDULED');
}

/** T24: the money came back. Before the period's end the renewal is free again; afterwards it is only written down. */
export function reinstateFunds(state: SubscriptionState, reason: string, now: Temporal.Instant): SubscriptionChange {
  if (!state.renewalBlocked || findTransition(state, 'funds-reinstated') === undefined) {
    return noted(state, 'DISPUTE_REINSTATED', reason);
  }
  const free: SubscriptionState = { ...state, renewalBlocked: false };
  const canCharge = state.paymentMethodId !== null;
  if (state.status === 'PAST_DUE') {
    return { ...noted(state, 'DISPUTE_REINSTATED', reason), after: { ...free, nextChargeAt: canCharge ? now : null } };
  }
  const renews = canCharge && !state.cancelAtPeriodEnd;
  const after: SubscriptionState = {
    ...free,
    nextChargeAt: renews ? state.currentPeriodEnd : null,
    nextTransitionAt: renews ? null : state.currentPeriodEnd,
  };
  return change(state, after, 'DISPUTE_REINSTATED', reason, renews ? 'CANCELLATION_UNDONE' : 'EXTENDED');
}

/** T24: the money stays away. Access goes at once if it had paid for the current period; otherwise it ends with it. */
export function loseDispute(
  state: SubscriptionState,
  { reason, paidCurrentPeriod }: { reason: string; paidCurrentPeriod: boolean },
  now: Temporal.Instant,
): SubscriptionChange[] {
  const lost = noted(state, 'DISPUTE_LOST', reason);
  if (!paidCurrentPeriod || findTransition(state, 'dispute-lost') === undefined) return [lost];
  const { to } = requireTransition(state, 'dispute-lost');
  const after: SubscriptionState = { ...ended(state, now), status: to, canceledAt: now };
  return [lost, change(state, after, 'CANCELED', 'DISPUTE', 'REVOKED')];
}

/** Nothing new may be charged while money of the subscription is disputed. Throws DISPUTE_OPEN. */
export function requireNoDispute(state: SubscriptionState): void {
  if (!state.renewalBlocked) return;
  throw new BillingError('wrong-state', 'DISPUTE_OPEN', 'a payment of this subscription is disputed');
}

function noted(state: SubscriptionState, kind: SubscriptionEventKind, reason: string): SubscriptionChange {
  return { before: state, after: state, kind, reason, entitlement: undefined };
}
