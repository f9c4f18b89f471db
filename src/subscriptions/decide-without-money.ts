import { nextCheckAfter, type AttemptRow, type AttemptUpdate } from '../payments/attempt-rows.ts';
import { isAwaited, isChange, voidAfterEnd, type Decision, type OutcomeOf } from './decision.ts';
import { declineFirstPayment, declineRenewal, expire, releasePayment, requireAction } from './lifecycle.ts';
import { failPlanChange } from './plan-change.ts';
import { findTransition } from './state-table.ts';
import type { SubscriptionState } from './subscription.ts';

const notExecutedRetryMs = 1_000;
/** A fault of ours: the same attempt again, until somebody has mended it. */
const refusedRetryMs = 3_600_000;
/** "Not found" counts only when a second look-up, this much later, says it again. */
const absenceMinMs = 15 * 60_000;

/** A definite no of the card: dunning for a renewal, another try on the page for a first payment. */
export function decideDecline(
  attempt: AttemptRow,
  subscription: SubscriptionState,
  outcome: Omit<OutcomeOf<'declined'>, 'kind'>,
  now: Temporal.Instant,
): Decision {
  const { providerPaymentId, declineCode, hard } = outcome;
  const declined = { declineCode, declineHard: hard, nextCheckAt: null, settledAt: now };
  const update: AttemptUpdate = { id: attempt.id, state: 'DECLINED', providerPaymentId, ...declined };
  if (isChange(attempt)) return decideFailedChange(attempt, subscription, update, declineCode);
  const trigger = hard ? 'payment-declined-hard' : 'payment-declined';
  if (!isAwaited(attempt, subscription) || !findTransition(subscription, trigger)) {
    return { result: 'settled', attempt: update, ...voidAfterEnd(subscription, attempt) };
  }
  const change =
    attempt.purpose === 'initial'
      ? declineFirstPayment(subscription, declineCode)
      : declineRenewal(subscription, { declineCode, hard, superseded: attempt.superseded }, now);
  return { result: 'settled', attempt: update, changes: [change] };
}

/** T21: nothing is tried again for another plan; whoever still wants it asks anew. */
function decideFailedChange(
  attempt: AttemptRow,
  subscription: SubscriptionState,
  update: AttemptUpdate,
  reason: string,
): Decision {
  const changes = isAwaited(attempt, subscription) ? failPlanChange(subscription, attempt.paymentId, reason) : [];
  return { result: 'settled', attempt: update, payment: { id: attempt.paymentId, status: 'VOID' }, changes };
}

/**
 * The customer has to confirm a charge (3-D Secure): off-session, that is a failed renewal which can still succeed. It
 * counts as the attempt that it is, and nothing else is tried until it is decided.
 */
export function decideWaiting(
  attempt: AttemptRow,
  subscription: SubscriptionState,
  outcome: OutcomeOf<'waiting'>,
  now: Temporal.Instant,
): Decision {
  const update = openAttempt(attempt, outcome, now);
  const { actionUrl } = outcome;
  const isNews =
    attempt.kind === 'charge' &&
    actionUrl !== undefined &&
    !isChange(attempt) &&
    isAwaited(attempt, subscription) &&
    !subscription.cancelAtPeriodEnd &&
    !subscription.renewalBlocked &&
    subscription.dunningEndsAt === null &&
    findTransition(subscription, 'payment-declined') !== undefined;
  return {
    result: 'open',
    attempt: { ...update, actionUrl },
    changes: isNews ? [requireAction(subscription, now)] : [],
  };
}

/** The provider says that nothing will come of it any more. */
export function decideDead(
  attempt: AttemptRow,
  subscription: SubscriptionState,
  outcome: OutcomeOf<'dead'>,
  reason: string | undefined,
  now: Temporal.Instant,
): Decision {
  const { providerPaymentId } = outcome;
  // Whoever found nothing to kill was overtaken by whoever opens the page at this moment.
  const overtaken = attempt.providerPaymentId !== null || (attempt.state === 'SENT' && attempt.leased);
  if (providerPaymentId === undefined && overtaken) return { result: 'open' };
  if (attempt.kind === 'charge' && providerPaymentId !== undefined) {
    return decideDecline(
      attempt,
      subscription,
      { providerPaymentId, declineCode: 'payment_canceled', hard: false },
      now,
    );
  }
  if (attempt.purpose.startsWith('setup:')) {
    const payment = { id: attempt.paymentId, status: 'VOID' } as const;
    return { result: 'settled', attempt: dead(attempt, providerPaymentId ?? null, now), payment };
  }
  const isExpired = isAwaited(attempt, subscription) && findTransition(subscription, 'checkout-dead');
  const changes = isExpired ? [expire(subscription, reason ?? 'CHECKOUT_EXPIRED', now)] : [];
  return {
    result: 'settled',
    attempt: dead(attempt, providerPaymentId ?? null, now),
    changes,
    ...voidAfterEnd(changes[0]?.after ?? subscription, attempt),
  };
}

/**
 * The provider does not have the charge, and it was not sent again. What was certainly never executed is over at once;
 * what may have been on its way, when a second look-up long enough after the first still does not find it. Then the
 * subscription may be charged anew: the same payment, a new attempt and only now a new key.
 */
export function decideAbsent(
  attempt: AttemptRow,
  subscription: SubscriptionState,
  outcome: OutcomeOf<'absent'>,
  now: Temporal.Instant,
): Decision {
  if (attempt.state !== outcome.state) return { result: 'open' };
  const since = attempt.absentSince ?? now;
  const isCertain = attempt.state === 'PENDING' || now.epochMilliseconds - since.epochMilliseconds >= absenceMinMs;
  if (!isCertain) {
    const nextCheckAt = now.add({ milliseconds: absenceMinMs });
    const { id, providerPaymentId } = attempt;
    return {
      result: 'open',
      attempt: { id, state: 'UNKNOWN', providerPaymentId, absentSince: since, nextCheckAt, settledAt: null },
    };
  }
  if (isChange(attempt)) {
    return decideFailedChange(attempt, subscription, dead(attempt, attempt.providerPaymentId, now), 'NEVER_EXECUTED');
  }
  const changes = isAwaited(attempt, subscription) ? [releasePayment(subscription)] : [];
  return {
    result: 'settled',
    attempt: dead(attempt, attempt.providerPaymentId, now),
    changes,
    ...voidAfterEnd(subscription, attempt),
  };
}

/** What stays open keeps its place: nothing new may be begun for the payment until it is decided. */
export function openAttempt(
  attempt: AttemptRow,
  outcome: OutcomeOf<'waiting' | 'unknown' | 'not executed' | 'refused'>,
  now: Temporal.Instant,
): AttemptUpdate {
  const { id, providerPaymentId, checks } = attempt;
  const open = { id, providerPaymentId, settledAt: null, nextCheckAt: nextCheckAfter(checks, now) };
  switch (outcome.kind) {
    case 'waiting':
      return { ...open, state: 'WAITING', providerPaymentId: outcome.providerPaymentId };
    case 'unknown':
      return { ...open, state: 'UNKNOWN' };
    case 'not executed': {
      const delayMs = outcome.retryAfterMs ?? notExecutedRetryMs;
      return { ...open, state: 'PENDING', nextCheckAt: now.add({ milliseconds: delayMs }) };
    }
    case 'refused':
      return { ...open, state: 'PENDING', nextCheckAt: now.add({ milliseconds: refusedRetryMs }) };
  }
}

function dead({ id }: AttemptRow, providerPaymentId: string | null, now: Temporal.Instant): AttemptUpdate {
  return { id, state: 'DEAD', providerPaymentId, nextCheckAt: null, settledAt: now };
}
