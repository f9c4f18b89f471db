import type { EntitlementChangeKind } from '../outbox/enqueue.ts';
import { billingPeriod, type BillingPeriod, type BillingSchedule } from './billing-period.ts';
import { dunningDeadlines, nextRetryAt } from './dunning.ts';
import { requireTransition, type Trigger } from './state-table.ts';
import type { SubscriptionState } from './subscription.ts';

export type SubscriptionEventKind =
  | 'SUBSCRIBED'
  | 'GIVEN'
  | 'TRIAL_STARTED'
  | 'ACTIVATED'
  | 'EXPIRED'
  | 'RENEWED'
  | 'PAYMENT_DECLINED'
  | 'PAYMENT_ACTION_REQUIRED'
  | 'CANCELLATION_SCHEDULED'
  | 'CANCELLATION_UNDONE'
  | 'CANCELED'
  | 'PAYMENT_RELEASED'
  | 'PERIOD_FORGIVEN'
  | 'GRACE_ENDED'
  | 'PERIOD_EXTENDED'
  | 'PAYMENT_METHOD_CHANGED'
  | 'PAYMENT_METHOD_REMOVED'
  | 'RETRY_REQUESTED'
  | 'DISPUTE_OPENED'
  | 'DISPUTE_LOST'
  | 'DISPUTE_REINSTATED'
  | 'PLAN_CHANGE_STARTED'
  | 'PLAN_CHANGED'
  | 'PLAN_CHANGE_FAILED'
  | 'PLAN_CHANGE_SCHEDULED'
  | 'PLAN_CHANGE_DROPPED'
  | 'PRICE_CHANGE_ANNOUNCED'
  | 'CHARGE_POSTPONED';

/** Before the first charge, and at the start of a trial that is shorter. */
const trialReminderDays = 7;

/** What a rule decided: the new state, the line of history, and what Auth has to be told. Nothing is done yet. */
export interface SubscriptionChange {
  readonly before: SubscriptionState;
  readonly after: SubscriptionState;
  readonly kind: SubscriptionEventKind;
  /** For the history: the words of whoever asked, or a code. */
  readonly reason: string;
  /** Undefined when the grant stays as it is. */
  readonly entitlement: { readonly kind: EntitlementChangeKind; readonly reason: string } | undefined;
}

/** What periods are computed from; only a subscription that was paid once has it. */
export function scheduleOf(state: SubscriptionState): BillingSchedule {
  if (!state.anchorAt) throw new Error(`subscription ${state.id} has no anchor`);
  const { anchorAt, anchorCycle, intervalUnit, intervalCount, billingTimeZone: timeZone } = state;
  return { anchorAt, anchorCycle, intervalUnit, intervalCount, timeZone };
}

/** T2: the first payment succeeded; the first period starts now and its start is the anchor. */
export function activate(state: SubscriptionState, methodId: string, now: Temporal.Instant): SubscriptionChange {
  const { to } = requireTransition(state, 'payment-succeeded');
  const anchored = { ...state, anchorAt: now };
  const after: SubscriptionState = {
    ...paid(anchored, billingPeriod(scheduleOf(anchored), 0)),
    status: to,
    paymentMethodId: methodId,
    openPaymentId: null,
    nextTransitionAt: null,
  };
  return change(state, after, 'ACTIVATED', 'PAYMENT_SUCCEEDED', 'GRANTED');
}

/** T6: the method is saved and nothing was taken; the trial's end is the anchor of all periods (D4). */
export function startTrial(
  state: SubscriptionState,
  methodId: string,
  trialDays: number,
  now: Temporal.Instant,
): SubscriptionChange {
  const { to } = requireTransition(state, 'trial-confirmed');
  const endsAt = addDays(now, trialDays, state.billingTimeZone);
  const after: SubscriptionState = {
    ...state,
    status: to,
    anchorAt: endsAt,
    anchorCycle: 0,
    cycle: -1,
    currentPeriodStart: now,
    currentPeriodEnd: endsAt,
    paymentMethodId: methodId,
    openPaymentId: null,
    nextChargeAt: endsAt,
    nextTransitionAt: trialReminderAt(endsAt),
  };
  return change(state, after, 'TRIAL_STARTED', 'METHOD_SAVED', 'GRANTED');
}

/** T6: when the viewer is reminded of a trial's end; at once where that has passed. */
export function trialReminderAt(endsAt: Temporal.Instant): Temporal.Instant {
  return endsAt.subtract({ hours: trialReminderDays * 24 });
}

/** T4: the checkout is over and the provider has confirmed that no money can come through it. */
export function expire(state: SubscriptionState, reason: string, now: Temporal.Instant): SubscriptionChange {
  const { to } = requireTransition(state, 'checkout-dead');
  const after: SubscriptionState = { ...ended(state, now), status: to };
  return { before: state, after, kind: 'EXPIRED', reason, entitlement: undefined };
}

/**
 * T7, T9, T12: a renewal, or the first payment after a trial, succeeded. In time, the period that was paid is the one that was due, whatever the delay. After
 * access had lapsed, period and anchor start at the success: lost time is not sold.
 */
export function renew(state: SubscriptionState, period: BillingPeriod, now: Temporal.Instant): SubscriptionChange {
  const { to } = requireTransition(state, 'payment-succeeded');
  const lapsed = state.status === 'PAST_DUE' && !inGrace(state, now);
  // T27: the method was removed while the money was on its way, or other money paid. Nothing can be charged next.
  const endsThere =
    state.paymentMethodId === null ? { cancelAtPeriodEnd: true, canceledAt: state.canceledAt ?? now } : undefined;
  const anchored: SubscriptionState = {
    ...state,
    ...endsThere,
    ...(lapsed && { anchorAt: now, anchorCycle: period.cycle }),
  };
  const after: SubscriptionState = {
    ...paid(anchored, lapsed ? billingPeriod(scheduleOf(anchored), period.cycle) : period),
    status: to,
    openPaymentId: null,
    graceUntil: null,
    dunningEndsAt: null,
  };
  const kind = state.cycle < 0 ? 'ACTIVATED' : 'RENEWED';
  return change(state, after, kind, 'PAYMENT_SUCCEEDED', lapsed ? 'GRANTED' : 'EXTENDED');
}

/** D2: the time between the end of what was paid and a recovery that starts anew; empty when there is none. */
export function forgivenGap({ before, after }: SubscriptionChange): SubscriptionChange[] {
  if (after.anchorAt === before.anchorAt) return [];
  return [forgive(before, { start: before.currentPeriodEnd!, end: after.currentPeriodStart! })];
}

/** A span that nobody pays for, as a line of history: `start/end`. */
export function forgive(state: SubscriptionState, span: Pick<BillingPeriod, 'start' | 'end'>): SubscriptionChange {
  const reason = `${span.start.toString()}/${span.end.toString()}`;
  return { before: state, after: state, kind: 'PERIOD_FORGIVEN', reason, entitlement: undefined };
}

/** Billing was away for so long that the viewer is told before anything is charged. */
export function postponeCharge(state: SubscriptionState, until: Temporal.Instant): SubscriptionChange {
  // A trial has been reminded with it.
  const after = { ...state, nextChargeAt: until, ...(state.status === 'TRIALING' && { nextTransitionAt: null }) };
  return { before: state, after, kind: 'CHARGE_POSTPONED', reason: 'BILLING_WAS_AWAY', entitlement: undefined };
}

/** The open charge was never executed, which is certain by now: what is due may be charged by a new attempt. */
export function releasePayment(state: SubscriptionState): SubscriptionChange {
  const after = { ...state, openPaymentId: null };
  return { before: state, after, kind: 'PAYMENT_RELEASED', reason: 'NEVER_EXECUTED', entitlement: undefined };
}

/** T3: the first payment was declined for good; another method may be tried until the checkout's time is over. */
export function declineFirstPayment(state: SubscriptionState, declineCode: string): SubscriptionChange {
  requireTransition(state, 'payment-declined');
  return { before: state, after: state, kind: 'PAYMENT_DECLINED', reason: declineCode, entitlement: undefined };
}

/**
 * T8, T10, T11: a renewal, or the first payment after a trial, was declined. The first failure stores both deadlines, and
 * nothing moves them afterwards; a hard decline is never tried again on the same method. A trial that is not paid for
 * gives no grace, and ends where no retry can help. A method that was saved meanwhile is tried at once (T13). Where a cancellation at the period's end came after the charge was
 * sent, nothing is tried again: the period has ended, and so does the subscription.
 */
export function declineRenewal(
  state: SubscriptionState,
  decline: { declineCode: string; hard: boolean; superseded: boolean },
  now: Temporal.Instant,
): SubscriptionChange {
  const { to } = requireTransition(state, decline.hard ? 'payment-declined-hard' : 'payment-declined');
  if (to === 'CANCELED') {
    return change(state, { ...ended(state, now), status: to }, 'CANCELED', decline.declineCode, 'REVOKED');
  }
  if (state.cancelAtPeriodEnd || state.renewalBlocked) {
    const after = { ...state, openPaymentId: null };
    return { before: state, after, kind: 'PAYMENT_DECLINED', reason: decline.declineCode, entitlement: undefined };
  }
  const first = state.dunningEndsAt === null;
  const deadlines = dunningDeadlines(now);
  const afterTrial = state.status === 'TRIALING';
  const graceUntil = first && !afterTrial ? deadlines.graceUntil : state.graceUntil;
  const dunningEndsAt = state.dunningEndsAt ?? deadlines.dunningEndsAt;
  const retryAt = retryAfter(state, decline, dunningEndsAt, now);
  const after: SubscriptionState = {
    ...state,
    status: to,
    openPaymentId: null,
    graceUntil,
    dunningEndsAt,
    nextChargeAt: retryAt ?? null,
    nextTransitionAt: graceUntil ?? dunningEndsAt,
  };
  return {
    before: state,
    after,
    kind: 'PAYMENT_DECLINED',
    reason: decline.declineCode,
    entitlement: first ? { kind: afterTrial ? 'REVOKED' : 'GRACE_STARTED', reason: 'PAYMENT_DECLINED' } : undefined,
  };
}

/** T10: the customer has to confirm the charge. As after a soft decline, but the charge goes on and nothing is retried. */
export function requireAction(state: SubscriptionState, now: Temporal.Instant): SubscriptionChange {
  const decline = { declineCode: 'action_required', hard: false, superseded: false };
  const { after, ...declined } = declineRenewal(state, decline, now);
  const { openPaymentId } = state;
  return { ...declined, kind: 'PAYMENT_ACTION_REQUIRED', after: { ...after, openPaymentId, nextChargeAt: null } };
}

function retryAfter(
  state: SubscriptionState,
  { hard, superseded }: { hard: boolean; superseded: boolean },
  dunningEndsAt: Temporal.Instant,
  now: Temporal.Instant,
): Temporal.Instant | undefined {
  if (state.paymentMethodId === null) return undefined;
  if (superseded) return now;
  return hard ? undefined : nextRetryAt(state.id, dunningEndsAt, now);
}

/** T14: the grace period is over; access goes, the retries go on. */
export function endGrace(state: SubscriptionState): SubscriptionChange {
  requireTransition(state, 'grace-ends');
  const after: SubscriptionState = { ...state, graceUntil: null, nextTransitionAt: state.dunningEndsAt };
  return change(state, after, 'GRACE_ENDED', 'GRACE_ENDED', 'REVOKED');
}

/** T15, T19: the dunning, or the period after which a cancellation was scheduled, is over. */
export function end(
  state: SubscriptionState,
  trigger: Extract<Trigger, 'dunning-ends' | 'period-ends'>,
  now: Temporal.Instant,
): SubscriptionChange {
  // T24: it would have renewed, had its money not been disputed.
  const isDisputed = trigger === 'period-ends' && state.renewalBlocked && !state.cancelAtPeriodEnd;
  const { to } = requireTransition(state, isDisputed ? 'disputed-period-ends' : trigger);
  const after: SubscriptionState = { ...ended(state, now), status: to };
  const reason = isDisputed ? 'DISPUTE' : trigger === 'dunning-ends' ? 'DUNNING_ENDED' : 'PERIOD_ENDED';
  return change(state, after, 'CANCELED', reason, 'REVOKED');
}

/** The same time of day, so many days later, in the civil time of the zone. */
export function addDays(from: Temporal.Instant, days: number, timeZone: string): Temporal.Instant {
  return from.toZonedDateTimeISO(timeZone).add({ days }).toInstant();
}

function inGrace(state: SubscriptionState, now: Temporal.Instant): boolean {
  return state.graceUntil !== null && Temporal.Instant.compare(now, state.graceUntil) < 0;
}

/** A renewal during a scheduled cancellation, or a dispute (the charge was sent before), still ends with the new period. */
function paid(state: SubscriptionState, period: BillingPeriod): SubscriptionState {
  const endsThere = state.cancelAtPeriodEnd || state.renewalBlocked;
  return {
    ...state,
    cycle: period.cycle,
    currentPeriodStart: period.start,
    currentPeriodEnd: period.end,
    nextChargeAt: endsThere ? null : period.end,
    nextTransitionAt: endsThere ? period.end : null,
  };
}

/** What all ends have in common; the caller sets the status. */
export function ended(state: SubscriptionState, now: Temporal.Instant): SubscriptionState {
  return {
    ...state,
    openPaymentId: null,
    scheduledPriceId: null,
    announcedPriceId: null,
    announcedPriceFrom: null,
    graceUntil: null,
    dunningEndsAt: null,
    nextChargeAt: null,
    nextTransitionAt: null,
    endedAt: now,
  };
}

/** A change of which Auth has to be told. */
export function change(
  before: SubscriptionState,
  after: SubscriptionState,
  kind: SubscriptionEventKind,
  reason: string,
  entitlement: EntitlementChangeKind,
): SubscriptionChange {
  return { before, after, kind, reason, entitlement: { kind: entitlement, reason: reasonCode(kind, reason) } };
}

/** Auth gets codes, never a person's words. */
function reasonCode(kind: SubscriptionEventKind, reason: string): string {
  return /^[A-Z][A-Z0-9_]{0,63}$/.test(reason) ? reason : kind;
}
