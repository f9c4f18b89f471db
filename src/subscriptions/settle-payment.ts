import { businessNow } from '../db/clock.ts';
import { inTransaction, type EntityManager } from '../db/orm.ts';
import {
  findAttempts,
  lockAttempts,
  nextCheckAfter,
  storeAttempts,
  storePayments,
  type AttemptRow,
  type AttemptUpdate,
} from '../payments/attempt-rows.ts';
import type { CallOutcome } from '../payments/call-provider.ts';
import { isFinal } from '../payments/payment.ts';
import { claimSurplusRefunds } from '../payments/refund-surplus.ts';
import { saveMethod } from '../payments/save-method.ts';
import { activate, declineFirstPayment, declineRenewal, expire, renew, type SubscriptionChange } from './lifecycle.ts';
import { findTransition } from './state-table.ts';
import { lockSubscriptions, storeChanges, type SubscriptionsContext } from './subscription-rows.ts';
import type { SubscriptionState } from './subscription.ts';

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
interface Decision {
  readonly result: SettleResult;
  readonly attempt?: AttemptUpdate;
  readonly payment?: { id: string; status: 'SUCCEEDED' | 'VOID' };
  readonly change?: SubscriptionChange;
  readonly surplus?: { attempt: AttemptRow; providerPaymentId: string };
}

const refusedRetryMs = 1_000;

/**
 * The only settle: state, period, payment, entitlement, history and outbox in one transaction, for a whole batch. It is
 * idempotent, because states move only forward, under the locks of the subscription and then the attempt. Where one
 * row of a batch is bad, the others are settled each for itself.
 */
export async function settlePayments(
  ctx: SubscriptionsContext,
  settlements: readonly Settlement[],
): Promise<SettleResult[]> {
  if (settlements.length === 0) return [];
  try {
    const results = await settleBatch(ctx, settlements);
    ctx.wake('relay');
    return results;
  } catch (error) {
    if (settlements.length === 1) {
      ctx.log.error({ err: error, attempt: settlements[0]!.attemptId }, 'settle failed');
      return ['failed'];
    }
    ctx.log.warn({ err: error, count: settlements.length }, 'settle of a batch failed, settling one by one');
    const results: SettleResult[] = [];
    for (const settlement of settlements) results.push(...(await settlePayments(ctx, [settlement])));
    return results;
  }
}

async function settleBatch(ctx: SubscriptionsContext, settlements: readonly Settlement[]): Promise<SettleResult[]> {
  return inTransaction(ctx.em, async (tx) => {
    const ids = settlements.map(({ attemptId }) => attemptId);
    const unlocked = await findAttempts(tx, ids);
    const subscriptions = await lockSubscriptions(tx, [...new Set(unlocked.map((row) => row.subscriptionId))]);
    const attempts = new Map((await lockAttempts(tx, ids)).map((row) => [row.id, row]));
    const now = await businessNow(tx);
    const decisions: Decision[] = [];
    for (const settlement of settlements) {
      const attempt = attempts.get(settlement.attemptId);
      if (!attempt) throw new Error(`no attempt ${settlement.attemptId}`);
      const subscription = subscriptions.get(attempt.subscriptionId)!;
      const decision = await decide(tx, attempt, subscription, settlement, now);
      if (decision.change) subscriptions.set(subscription.id, decision.change.after);
      if (decision.attempt) attempts.set(attempt.id, { ...attempt, state: decision.attempt.state });
      report(ctx, decision, attempt, settlement);
      decisions.push(decision);
    }
    await storeAttempts(
      tx,
      decisions.flatMap(({ attempt }) => attempt ?? []),
    );
    await storePayments(
      tx,
      decisions.flatMap(({ payment }) => payment ?? []),
      now,
    );
    await claimSurplusRefunds(
      tx,
      decisions.flatMap(({ surplus }) => surplus ?? []),
      now,
    );
    await storeChanges(
      ctx,
      tx,
      decisions.flatMap(({ change }) => change ?? []),
      now,
    );
    return decisions.map(({ result }) => result);
  });
}

async function decide(
  tx: EntityManager,
  attempt: AttemptRow,
  subscription: SubscriptionState,
  { outcome, reason }: Settlement,
  now: Temporal.Instant,
): Promise<Decision> {
  if (outcome.kind === 'succeeded') return decideSuccess(tx, attempt, subscription, outcome, now);
  if (isFinal(attempt.state)) return { result: 'already settled' };
  const awaited = subscription.openPaymentId === attempt.paymentId;
  if (outcome.kind === 'declined' || outcome.kind === 'dead') {
    const providerPaymentId = outcome.providerPaymentId ?? null;
    const decided = { id: attempt.id, providerPaymentId, nextCheckAt: null, settledAt: now };
    if (outcome.kind === 'dead') {
      const change =
        awaited &&
        findTransition(subscription, 'checkout-dead') &&
        expire(subscription, reason ?? 'CHECKOUT_EXPIRED', now);
      return {
        result: 'settled',
        attempt: { ...decided, state: 'DEAD' },
        ...(change ? { change } : {}),
        ...voidAfterEnd(change ? change.after : subscription, attempt),
      };
    }
    const { declineCode, hard } = outcome;
    const update: AttemptUpdate = { ...decided, state: 'DECLINED', declineCode, declineHard: hard };
    if (!awaited || !findTransition(subscription, 'payment-declined')) {
      return { result: 'settled', attempt: update, ...voidAfterEnd(subscription, attempt) };
    }
    const change =
      attempt.purpose === 'initial'
        ? declineFirstPayment(subscription, declineCode)
        : declineRenewal(subscription, { declineCode, hard, failedAttempts: attempt.attemptNumber }, now);
    return { result: 'settled', attempt: update, change };
  }
  return { result: 'open', attempt: openAttempt(attempt, outcome, now) };
}

/** Money came. It belongs to the subscription only while the subscription waits for exactly this payment. */
async function decideSuccess(
  tx: EntityManager,
  attempt: AttemptRow,
  subscription: SubscriptionState,
  outcome: Extract<CallOutcome, { kind: 'succeeded' }>,
  now: Temporal.Instant,
): Promise<Decision> {
  if (attempt.state === 'SUCCEEDED') return { result: 'already settled' };
  const { providerPaymentId, amount } = outcome;
  if (amount.amountMinor !== attempt.amount.amountMinor || amount.currencyCode !== attempt.amount.currencyCode) {
    if (isFinal(attempt.state)) return { result: 'mismatch' };
    return {
      result: 'mismatch',
      attempt: { id: attempt.id, state: 'PARKED', providerPaymentId, nextCheckAt: null, settledAt: null },
    };
  }
  const awaited =
    subscription.openPaymentId === attempt.paymentId &&
    !isFinal(attempt.state) &&
    findTransition(subscription, 'payment-succeeded') !== undefined;
  const update: AttemptUpdate = {
    id: attempt.id,
    state: 'SUCCEEDED',
    providerPaymentId,
    surplus: !awaited,
    nextCheckAt: null,
    settledAt: now,
  };
  if (!awaited) {
    const surplus = { attempt, providerPaymentId };
    return { result: 'surplus', attempt: update, surplus, ...voidAfterEnd(subscription, attempt) };
  }
  const payment = { id: attempt.paymentId, status: 'SUCCEEDED' } as const;
  if (attempt.purpose === 'initial') {
    if (!outcome.method) throw new Error(`provider saved no method for attempt ${attempt.id}`);
    const methodId = await saveMethod(tx, attempt, outcome.method, now);
    return { result: 'settled', attempt: update, payment, change: activate(subscription, methodId, now) };
  }
  const cycle = Number(attempt.purpose.slice('cycle:'.length));
  const period = { cycle, start: attempt.periodStart!, end: attempt.periodEnd! };
  return { result: 'settled', attempt: update, payment, change: renew(subscription, period, now) };
}

/** Nobody waits for a payment of a subscription that has ended: it ends with its last attempt. */
function voidAfterEnd(subscription: SubscriptionState, attempt: AttemptRow): Pick<Decision, 'payment'> {
  return subscription.endedAt === null ? {} : { payment: { id: attempt.paymentId, status: 'VOID' } };
}

/** What stays open keeps its place: nothing new may be begun for the payment until it is decided. */
function openAttempt(
  attempt: AttemptRow,
  outcome: Extract<CallOutcome, { kind: 'waiting' | 'unknown' | 'not executed' | 'refused' }>,
  now: Temporal.Instant,
): AttemptUpdate {
  const { id, providerPaymentId, checks } = attempt;
  const open = { id, providerPaymentId, settledAt: null, nextCheckAt: nextCheckAfter(checks, now) };
  // A repeat that was not executed says nothing about the first call: only the first answer of all proves that no
  // money moved. The sweeper has counted its look before it repeats.
  const sentBefore = checks > 0;
  switch (outcome.kind) {
    case 'waiting':
      return { ...open, state: 'WAITING', providerPaymentId: outcome.providerPaymentId };
    case 'unknown':
      return { ...open, state: 'UNKNOWN' };
    case 'not executed':
      return {
        ...open,
        state: sentBefore ? 'UNKNOWN' : 'PENDING',
        nextCheckAt: now.add({ milliseconds: outcome.retryAfterMs ?? refusedRetryMs }),
      };
    case 'refused':
      return sentBefore ? { ...open, state: 'UNKNOWN' } : { ...open, state: 'PARKED', nextCheckAt: null };
  }
}

function report(ctx: SubscriptionsContext, decision: Decision, attempt: AttemptRow, { outcome }: Settlement): void {
  const facts = {
    attempt: attempt.id,
    subscription: attempt.subscriptionId,
    purpose: attempt.purpose,
    outcome: outcome.kind,
  };
  if (decision.result === 'surplus' || decision.result === 'mismatch' || outcome.kind === 'refused') {
    ctx.log.error({ ...facts, result: decision.result }, 'payment needs a person');
  } else {
    ctx.log.info({ ...facts, result: decision.result }, 'payment outcome');
  }
}
