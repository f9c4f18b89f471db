import { Price } from '../catalog/plan.ts';
import type { EntityManager } from '../db/orm.ts';
import { hurryWaitingCharges, type AttemptRow, type AttemptUpdate } from '../payments/attempt-rows.ts';
import { isFinal } from '../payments/payment.ts';
import { saveMethod } from '../payments/save-method.ts';
import { changeMethod } from './commands.ts';
import { isAwaited, isChange, voidAfterEnd, type Decision, type OutcomeOf } from './decision.ts';
import { activate, expire, forgivenGap, renew, startTrial } from './lifecycle.ts';
import { finishPlanChange } from './plan-change.ts';
import { findTransition } from './state-table.ts';
import type { SubscriptionsContext } from './subscription-rows.ts';
import type { SubscriptionState } from './subscription.ts';
import { findTargetOfChange } from './target-price.ts';
import { claimTrial } from './trials.ts';

/** Money came. It belongs to the subscription only while the subscription waits for exactly this payment. */
export async function decideSuccess(
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
  const isOtherAmount =
    amount.amountMinor !== attempt.amount.amountMinor || amount.currencyCode !== attempt.amount.currencyCode;
  // After we gave up it is surplus like any other money: nothing depends on how much it is.
  if (isOtherAmount && !isFinal(attempt.state)) {
    return {
      result: 'mismatch',
      attempt: { id: attempt.id, state: 'PARKED', providerPaymentId, nextCheckAt: null, settledAt: null },
    };
  }
  const isSurplus =
    !isAwaited(attempt, subscription) ||
    isFinal(attempt.state) ||
    findTransition(subscription, isChange(attempt) ? 'change-paid' : 'payment-succeeded') === undefined;
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
  if (isChange(attempt)) {
    const period = { start: attempt.periodStart!, end: attempt.periodEnd! };
    const changed = finishPlanChange(subscription, await findTargetOfChange(tx, attempt.paymentId), period);
    return { result: 'settled', attempt: update, payment, changes: [changed] };
  }
  const cycle = Number(attempt.purpose.slice('cycle:'.length));
  const renewed = renew(subscription, { cycle, start: attempt.periodStart!, end: attempt.periodEnd! }, now);
  return { result: 'settled', attempt: update, payment, changes: [...forgivenGap(renewed), renewed] };
}

/**
 * A method was saved and no money taken: for a trial, which begins unless the viewer or the instrument had one (then
 * nothing is ever charged), or for an open subscription, which is charged with it from now on.
 */
export async function decideSavedMethod(
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
