import type { EntitlementChangeKind, Grant } from '../outbox/enqueue.ts';
import { billingPeriod, type BillingPeriod, type BillingSchedule } from './billing-period.ts';
import { dunningDeadlines, nextRetryAt } from './dunning.ts';
import { illegalTransition, requireTransition, type Trigger } from './state-table.ts';
import type { SubscriptionState } from './subscription.ts';

export type SubscriptionEventKind =
  | 'SUBSCRIBED'
  | 'ACTIVATED'
  | 'EXPIRED'
  | 'RENEWED'
  | 'PAYMENT_DECLINED'
  | 'CANCELLATION_SCHEDULED'
  | 'CANCELLATION_UNDONE'
  | 'CANCELED'
  | 'PAYMENT_RELEASED'
  | 'PERIOD_FORGIVEN'
  | 'GRACE_ENDED';

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

/** T4: the checkout is over and the provider has confirmed that no money can come through it. */
export function expire(state: SubscriptionState, reason: string, now: Temporal.Instant): SubscriptionChange {
  const { to } = requireTransition(state, 'checkout-dead');
  const after: SubscriptionState = { ...ended(state, now), status: to };
  return { before: state, after, kind: 'EXPIRED', reason, entitlement: undefined };
}

/**
 * T9, T12: a renewal succeeded. In time, the period that was paid is the one that was due, whatever the delay. After
 * access had lapsed, period and anchor start at the success: lost time is not sold.
 */
export function renew(state: SubscriptionState, period: BillingPeriod, now: Temporal.Instant): SubscriptionChange {
  const { to } = requireTransition(state, 'payment-succeeded');
  const lapsed = state.status === 'PAST_DUE' && !inGrace(state, now);
  const anchored: SubscriptionState = lapsed ? { ...state, anchorAt: now, anchorCycle: period.cycle } : state;
  const after: SubscriptionState = {
    ...paid(anchored, lapsed ? billingPeriod(scheduleOf(anchored), period.cycle) : period),
    status: to,
    openPaymentId: null,
    graceUntil: null,
    dunningEndsAt: null,
  };
  return change(state, after, 'RENEWED', 'PAYMENT_SUCCEEDED', lapsed ? 'GRANTED' : 'EXTENDED');
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
 * T10, T11: a renewal was declined. The first failure stores both deadlines, and nothing moves them afterwards; a hard
 * decline is never tried again on the same method. Where a cancellation at the period's end came after the charge was
 * sent, nothing is tried again: the period has ended, and so does the subscription.
 */
export function declineRenewal(
  state: SubscriptionState,
  decline: { declineCode: string; hard: boolean },
  now: Temporal.Instant,
): SubscriptionChange {
  const { to } = requireTransition(state, 'payment-declined');
  if (state.cancelAtPeriodEnd) {
    const after = { ...state, openPaymentId: null };
    return { before: state, after, kind: 'PAYMENT_DECLINED', reason: decline.declineCode, entitlement: undefined };
  }
  const first = state.dunningEndsAt === null;
  const deadlines = dunningDeadlines(now);
  const graceUntil = first ? deadlines.graceUntil : state.graceUntil;
  const dunningEndsAt = state.dunningEndsAt ?? deadlines.dunningEndsAt;
  const retryAt = decline.hard ? undefined : nextRetryAt(state.id, dunningEndsAt, now);
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
    entitlement: first ? { kind: 'GRACE_STARTED', reason: 'PAYMENT_DECLINED' } : undefined,
  };
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
  const { to } = requireTransition(state, trigger);
  const after: SubscriptionState = { ...ended(state, now), status: to };
  return change(state, after, 'CANCELED', trigger === 'dunning-ends' ? 'DUNNING_ENDED' : 'PERIOD_ENDED', 'REVOKED');
}

/** T16, T17, T20: a cancellation. A subscription that owes money ends at once either way. */
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
    nextChargeAt: null,
    nextTransitionAt: state.currentPeriodEnd,
  };
  return change(state, after, 'CANCELLATION_SCHEDULED', reason, 'CANCELLATION_SCHEDULED');
}

/** T18: undoes a scheduled cancellation, before the period's end. */
export function resume(state: SubscriptionState, now: Temporal.Instant): SubscriptionChange {
  requireTransition(state, 'resume');
  if (Temporal.Instant.compare(now, state.currentPeriodEnd!) >= 0) throw illegalTransition(state, 'resume');
  const after: SubscriptionState = {
    ...state,
    cancelAtPeriodEnd: false,
    canceledAt: null,
    nextChargeAt: state.currentPeriodEnd,
    nextTransitionAt: null,
  };
  return change(state, after, 'CANCELLATION_UNDONE', 'RESUMED', 'CANCELLATION_UNDONE');
}

/**
 * The lease that a state gives (design/1-domain.md, "Access is a lease"); undefined for none. Status alone gives
 * nothing: what will renew reaches `leaseMarginHours` past its period, so that a backlog or a slow provider never cuts
 * off a viewer who pays; what ends, ends exactly.
 */
export function grantOf(state: SubscriptionState, leaseMarginHours: number): Grant | undefined {
  const accessUntil = accessUntilOf(state, leaseMarginHours);
  return (
    accessUntil && {
      product_line: state.productLine,
      subscription_id: state.id,
      plan_code: state.planCode,
      features: state.features,
      access_until: accessUntil.toString({ fractionalSecondDigits: 3 }),
      in_grace: state.status === 'PAST_DUE',
    }
  );
}

function accessUntilOf(state: SubscriptionState, leaseMarginHours: number): Temporal.Instant | undefined {
  if (state.status === 'PAST_DUE') return state.graceUntil ?? undefined;
  if (state.status !== 'ACTIVE' && state.status !== 'TRIALING') return undefined;
  const willRenew = !state.cancelAtPeriodEnd && state.paymentMethodId !== null;
  return willRenew ? state.currentPeriodEnd!.add({ hours: leaseMarginHours }) : state.currentPeriodEnd!;
}

function inGrace(state: SubscriptionState, now: Temporal.Instant): boolean {
  return state.graceUntil !== null && Temporal.Instant.compare(now, state.graceUntil) < 0;
}

/** A renewal during a scheduled cancellation (the charge was sent before the cancel) still ends with the new period. */
function paid(state: SubscriptionState, period: BillingPeriod): SubscriptionState {
  return {
    ...state,
    cycle: period.cycle,
    currentPeriodStart: period.start,
    currentPeriodEnd: period.end,
    nextChargeAt: state.cancelAtPeriodEnd ? null : period.end,
    nextTransitionAt: state.cancelAtPeriodEnd ? period.end : null,
  };
}

function ended(state: SubscriptionState, now: Temporal.Instant): SubscriptionState {
  return {
    ...state,
    openPaymentId: null,
    graceUntil: null,
    dunningEndsAt: null,
    nextChargeAt: null,
    nextTransitionAt: null,
    endedAt: now,
  };
}

function change(
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
