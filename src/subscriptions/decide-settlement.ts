import type { EntityManager } from '../db/orm.ts';
import type { Money } from '../lib/money.ts';
import { Price } from '../catalog/plan.ts';
import { hurryWaitingCharges, nextCheckAfter, type AttemptRow, type AttemptUpdate } from '../payments/attempt-rows.ts';
import type { CallOutcome } from '../payments/call-provider.ts';
import { isFinal } from '../payments/payment.ts';
import { saveMethod } from '../payments/save-method.ts';
import {
  activate,
  declineFirstPayment,
  declineRenewal,
  expire,
  forgivenGap,
  releasePayment,
  renew,
  requireAction,
  startTrial,
  type SubscriptionChange,
} from './lifecycle.ts';
import { changeMethod } from './commands.ts';
import { findTransition } from './state-table.ts';
import type { SubscriptionsContext } from './subscription-rows.ts';
import type { SubscriptionState } from './subscription.ts';
import { claimTrial } from './trials.ts';

/** What became of an attempt, from a call, a look-up or a notice. */
export interface Settlement {
  readonly attemptId: string;
  readonly outcome: CallOutcome;
  /** For the history when a checkout ended without money. */
  readonly reason?: string;
}

/**
 * `settled`: decided now. `already settled`: it was before, nothing is done. `open`: not decided yet. `surplus`: money
 * nobody waited for; it is kept apart from the subscription and has to go back. `mismatch`: another amount than was
 * owed; nothing is believed, the attempt is parked. `failed`: this one could not be written; it stays as it was.
 */
export type SettleResult = 'settled' | 'already settled' | 'open' | 'surplus' | 'mismatch' | 'failed';

/** The decision about one attempt, before anything is written. */
export interface Decision {
  readonly result: SettleResult;
  readonly attempt?: AttemptUpdate;
  readonly payment?: { id: string; status: 'SUCCEEDED' | 'VOID' };
  readonly changes?: readonly SubscriptionChange[];
  readonly surplus?: { attempt: AttemptRow; providerPaymentId: string; amount: Money };
}

type OutcomeOf<Kind extends CallOutcome['kind']> = Extract<CallOutcome, { kind: Kind }>;

const notExecutedRetryMs = 1_000;
/** A fault of ours: the same attempt again, until somebody has mended it. */
const refusedRetryMs = 3_600_000;
/** "Not found" counts only when a second look-up, this much later, says it again. */
const absenceMinMs = 15 * 60_000;

/** Decides about one attempt, under the locks of its subscription and its own. States move only forward. */
export async function decideSettlement(
  ctx: SubscriptionsContext,
  tx: EntityManager,
  attempt: AttemptRow,
  subscription: SubscriptionState,
  { outcome, reason }: Settlement,
  now: Temporal.Instant,
): Promise<Decision> {
  if (outcome.kind === 'succeeded') return decideSuccess(tx, attempt, subscription, outcome, now);
  if (isFinal(attempt.state)) return { result: 'already settled' };
  switch (outcome.kind) {
    case 'method saved':
      return decideSavedMethod(ctx, tx, attempt, subscription, outcome, now);
    case 'declined':
      return decideDecline(attempt, subscription, outcome, now);
    case 'dead':
      return decideDead(attempt, subscription, outcome, reason, now);
    case 'absent':
      return decideAbsent(attempt, subscription, outcome, now);
    case 'waiting':
      return decideWaiting(attempt, subscription, outcome, now);
    default:
      return { result: 'open', attempt: openAttempt(attempt, outcome, now) };
  }
}

/** Money came. It belongs to the subscription only while the subscription waits for exactly this payment. */
async function decideSuccess(
  tx: EntityManager,
  attempt: AttemptRow,
  subscription: SubscriptionState,
  outcome: OutcomeOf<'succeeded'>,
  now: Temporal.Instant,
): Promise<Decision> {
  const { providerPaymentId, amount } = outcome;
  if (attempt.state === 'SUCCEEDED') {
    if (providerPaymentId === attempt.providerPaymentId) return { result: 'already settled' };
    // The provider has taken the money twice for the one attempt.
    return { result: 'surplus', surplus: { attempt, providerPaymentId, amount } };
  }
  if (amount.amountMinor !== attempt.amount.amountMinor || amount.currencyCode !== attempt.amount.currencyCode) {
    if (isFinal(attempt.state)) return { result: 'mismatch' };
    return {
      result: 'mismatch',
      attempt: { id: attempt.id, state: 'PARKED', providerPaymentId, nextCheckAt: null, settledAt: null },
    };
  }
  const isSurplus =
    !isAwaited(attempt, subscription) ||
    isFinal(attempt.state) ||
    findTransition(subscription, 'payment-succeeded') === undefined;
  const update: AttemptUpdate = {
    id: attempt.id,
    state: 'SUCCEEDED',
    providerPaymentId,
    surplus: isSurplus,
    nextCheckAt: null,
    settledAt: now,
  };
  if (isSurplus) {
    const surplus = { attempt, providerPaymentId, amount };
    return { result: 'surplus', attempt: update, surplus, ...voidAfterEnd(subscription, attempt) };
  }
  const payment = { id: attempt.paymentId, status: 'SUCCEEDED' } as const;
  if (attempt.purpose === 'initial') {
    if (!outcome.method) throw new Error(`provider saved no method for attempt ${attempt.id}`);
    const methodId = await saveMethod(tx, attempt, outcome.method, now);
    return { result: 'settled', attempt: update, payment, changes: [activate(subscription, methodId, now)] };
  }
  const cycle = Number(attempt.purpose.slice('cycle:'.length));
  const renewed = renew(subscription, { cycle, start: attempt.periodStart!, end: attempt.periodEnd! }, now);
  return { result: 'settled', attempt: update, payment, changes: [...forgivenGap(renewed), renewed] };
}

/**
 * A method was saved and no money taken: for a trial, which begins unless the viewer or the instrument had one (then
 * nothing is ever charged), or for an open subscription, which is charged with it from now on.
 */
async function decideSavedMethod(
  ctx: SubscriptionsContext,
  tx: EntityManager,
  attempt: AttemptRow,
  subscription: SubscriptionState,
  { providerPaymentId, method }: OutcomeOf<'method saved'>,
  now: Temporal.Instant,
): Promise<Decision> {
  const isTrial = attempt.purpose === 'initial';
  const isWanted = isTrial
    ? isAwaited(attempt, subscription) && findTransition(subscription, 'trial-confirmed') !== undefined
    : findTransition(subscription, 'change-method') !== undefined;
  const over = { id: attempt.id, providerPaymentId, nextCheckAt: null, settledAt: now };
  if (!isWanted) {
    return { result: 'settled', attempt: { ...over, state: 'DEAD' }, ...voidAfterEnd(subscription, attempt) };
  }
  if (isTrial && !(await claimTrial(ctx, tx, subscription, method.fingerprint, now))) {
    return {
      result: 'settled',
      attempt: { ...over, state: 'DEAD' },
      payment: { id: attempt.paymentId, status: 'VOID' },
      changes: [expire(subscription, 'TRIAL_NOT_AVAILABLE', now)],
    };
  }
  const methodId = await saveMethod(tx, attempt, method, now);
  if (!isTrial) await hurryWaitingCharges(tx, [subscription.id], now);
  const change = isTrial
    ? startTrial(subscription, methodId, await trialDaysOf(tx, subscription.priceId), now)
    : changeMethod(subscription, methodId, now);
  return {
    result: 'settled',
    attempt: { ...over, state: 'SUCCEEDED' },
    payment: { id: attempt.paymentId, status: 'SUCCEEDED' },
    changes: [change],
  };
}

async function trialDaysOf(tx: EntityManager, priceId: string): Promise<number> {
  const { plan } = await tx.findOneOrFail(Price, { id: priceId }, { populate: ['plan'] });
  return plan.trialDays;
}

function decideDecline(
  attempt: AttemptRow,
  subscription: SubscriptionState,
  outcome: Omit<OutcomeOf<'declined'>, 'kind'>,
  now: Temporal.Instant,
): Decision {
  const { providerPaymentId, declineCode, hard } = outcome;
  const declined = { declineCode, declineHard: hard, nextCheckAt: null, settledAt: now };
  const update: AttemptUpdate = { id: attempt.id, state: 'DECLINED', providerPaymentId, ...declined };
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

/**
 * The customer has to confirm a charge (3-D Secure): off-session, that is a failed renewal which can still succeed. It
 * counts as the attempt that it is, and nothing else is tried until it is decided.
 */
function decideWaiting(
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
    isAwaited(attempt, subscription) &&
    !subscription.cancelAtPeriodEnd &&
    subscription.dunningEndsAt === null &&
    findTransition(subscription, 'payment-declined') !== undefined;
  return {
    result: 'open',
    attempt: { ...update, actionUrl },
    changes: isNews ? [requireAction(subscription, now)] : [],
  };
}

/** The provider says that nothing will come of it any more. */
function decideDead(
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
function decideAbsent(
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
  const changes = isAwaited(attempt, subscription) ? [releasePayment(subscription)] : [];
  return {
    result: 'settled',
    attempt: dead(attempt, attempt.providerPaymentId, now),
    changes,
    ...voidAfterEnd(subscription, attempt),
  };
}

function isAwaited(attempt: AttemptRow, subscription: SubscriptionState): boolean {
  return subscription.openPaymentId === attempt.paymentId;
}

function dead({ id }: AttemptRow, providerPaymentId: string | null, now: Temporal.Instant): AttemptUpdate {
  return { id, state: 'DEAD', providerPaymentId, nextCheckAt: null, settledAt: now };
}

/** Nobody waits for a payment of a subscription that has ended: it ends with its last attempt. */
function voidAfterEnd(subscription: SubscriptionState, attempt: AttemptRow): Pick<Decision, 'payment'> {
  return subscription.endedAt === null ? {} : { payment: { id: attempt.paymentId, status: 'VOID' } };
}

/** What stays open keeps its place: nothing new may be begun for the payment until it is decided. */
function openAttempt(
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
