import { businessNow } from '../db/clock.ts';
import { inTransaction, type EntityManager } from '../db/orm.ts';
import { rehearse } from '../db/rehearse.ts';
import { answerRequest, beginRequest, releaseRequest, requestKey, type RequestKey } from '../identity/once.ts';
import { findOpenAttempt, type AttemptRow } from '../payments/attempt-rows.ts';
import { Payment, PaymentAttempt, type PaymentPurpose } from '../payments/payment.ts';
import type { PaymentsContext } from '../payments/providers.ts';
import { sendCharges } from '../payments/send-charges.ts';
import { auditChange } from './audit-change.ts';
import { decidePlanChange, type AskedPlanChange, type DecidedPlanChange } from './decide-plan-change.ts';
import { requireVisible } from './find-subscription.ts';
import { changePlanFree, schedulePlanChange, startPlanChange } from './plan-change.ts';
import type { PlanChangeQuote } from './plan-change-quote.ts';
import { addChangePayment, addSettledChange, quoteOfPayment } from './plan-change-payment.ts';
import { settlePayments } from './settle-payment.ts';
import { lockSubscriptions, storeChanges, type SubscriptionsContext } from './subscription-rows.ts';
import type { SubscriptionState } from './subscription.ts';

export interface ChangePlanInput extends AskedPlanChange {
  requestId: string;
  subscriptionId: string;
  /** The caller's words for the history; empty for none. */
  reason: string;
}

/** What became of a change of plan. A declined payment is an outcome like the others. */
export interface PlanChangeResult {
  readonly subscription: SubscriptionState;
  readonly quote: PlanChangeQuote;
  readonly outcome: 'applied' | 'scheduled' | 'dropped' | 'payment pending' | 'payment failed';
  /** Where the viewer confirms the payment; empty for nowhere. */
  readonly actionUrl: string;
  /** The provider's code; empty where nothing was declined. */
  readonly declineCode: string;
}

type Claim =
  | { readonly kind: 'answered'; readonly answer: PlanChangeResult }
  /** Without an attempt there is nothing to send: somebody else goes on with it, or has ended it. */
  | { readonly kind: 'begun'; readonly paymentId: string; readonly attempt: AttemptRow | undefined };

/**
 * T21, T22: another price. An upgrade is paid first: written down in one transaction, charged outside of any, settled as
 * every payment is; whoever repeats the call after a crash in between goes on with the same attempt. Everything else is
 * done, or scheduled, in one transaction. Throws SUBSCRIPTION_NOT_FOUND, what `decidePlanChange` throws, and
 * PAYMENT_METHOD_REQUIRED, PAYMENT_METHOD_DECLINED, TOO_MANY_ATTEMPTS.
 */
export async function changePlan(
  ctx: SubscriptionsContext & PaymentsContext,
  input: ChangePlanInput,
): Promise<PlanChangeResult> {
  const { requestId, ...asked } = input;
  const key = requestKey(ctx, 'ChangePlan', requestId, asked);
  const claim = await inTransaction(ctx.em, (tx) => claimChange(ctx, tx, key, input));
  ctx.wake('relay');
  if (claim.kind === 'answered') return claim.answer;
  try {
    const sent = await sendCharges(ctx, claim.attempt ? [claim.attempt] : []);
    await settlePayments(
      ctx,
      sent.flatMap(({ attempt, outcome }) => (outcome ? [{ attemptId: attempt.id, outcome }] : [])),
    );
    return await inTransaction(ctx.em, async (tx) => {
      const answer = await resultOf(ctx, tx, input.subscriptionId, claim.paymentId);
      await answerRequest(tx, key, answer);
      return answer;
    });
  } catch (error) {
    await releaseRequest(ctx, key);
    throw error;
  }
}

/** What `changePlan` would do at this moment, by the same code; nothing is done. Throws what it throws. */
export async function previewPlanChange(
  ctx: SubscriptionsContext & PaymentsContext,
  input: AskedPlanChange & { subscriptionId: string },
): Promise<{ subscription: SubscriptionState; quote: PlanChangeQuote }> {
  return rehearse(ctx.em, async (tx) => {
    const { subscriptionId } = input;
    const subscription = requireVisible(ctx, (await lockSubscriptions(tx, [subscriptionId])).get(subscriptionId));
    const { quote } = await decidePlanChange(ctx, tx, subscription, input, await businessNow(tx));
    return { subscription, quote };
  });
}

async function claimChange(
  ctx: SubscriptionsContext & PaymentsContext,
  tx: EntityManager,
  key: RequestKey,
  input: ChangePlanInput,
): Promise<Claim> {
  const request = await beginRequest<PlanChangeResult>(tx, key);
  if (request.seen && request.answer) return { kind: 'answered', answer: request.answer };
  const { subscriptionId } = input;
  const state = requireVisible(ctx, (await lockSubscriptions(tx, [subscriptionId])).get(subscriptionId));
  const purpose = `change:${input.requestId.toLowerCase()}` as const;
  const begun = request.seen ? await findBegun(tx, state.id, purpose) : undefined;
  if (begun) return begun;
  const now = await businessNow(tx);
  const decided = await decidePlanChange(ctx, tx, state, input, now);
  const reason = input.reason || `CHANGED_BY_${ctx.actor.kind.toUpperCase()}`;
  const { quote, target } = decided;
  if (quote.due.amountMinor > 0n) {
    const attempt = await addChangePayment(tx, state, decided, purpose, now);
    const change = startPlanChange(state, attempt.paymentId, reason);
    await storeChanges(ctx, tx, [change], now);
    await auditChange(ctx, tx, 'ChangePlan', change, now, askedFor(decided));
    return { kind: 'begun', paymentId: attempt.paymentId, attempt };
  }
  const isScheduled = quote.timing === 'at-period-end';
  if (!isScheduled && state.status === 'ACTIVE') await addSettledChange(tx, state, decided, purpose, now);
  const change = isScheduled
    ? schedulePlanChange(state, target.priceId, reason)
    : changePlanFree(state, target, quote, reason);
  await storeChanges(ctx, tx, [change], now);
  await auditChange(ctx, tx, 'ChangePlan', change, now, askedFor(decided));
  const isDropped = change.kind === 'PLAN_CHANGE_DROPPED';
  const answer: PlanChangeResult = {
    subscription: change.after,
    quote,
    outcome: isDropped ? 'dropped' : isScheduled ? 'scheduled' : 'applied',
    actionUrl: '',
    declineCode: '',
  };
  await answerRequest(tx, key, answer);
  return { kind: 'answered', answer };
}

/** A repeat after a crash: the payment is there. What may have been sent is the sweeper's, which has the same settle. */
async function findBegun(
  tx: EntityManager,
  subscriptionId: string,
  purpose: PaymentPurpose,
): Promise<Claim | undefined> {
  const payment = await tx.findOne(Payment, { subscriptionId, purpose });
  if (!payment) return undefined;
  const attempt = await findOpenAttempt(tx, payment.id);
  const isUnsent = attempt?.state === 'PENDING' && !attempt.leased;
  return { kind: 'begun', paymentId: payment.id, attempt: isUnsent ? attempt : undefined };
}

/** How far the payment has come by now. */
async function resultOf(
  ctx: PaymentsContext,
  tx: EntityManager,
  subscriptionId: string,
  paymentId: string,
): Promise<PlanChangeResult> {
  const subscription = (await lockSubscriptions(tx, [subscriptionId])).get(subscriptionId)!;
  const payment = await tx.findOneOrFail(Payment, { id: paymentId });
  const attempt = await tx.findOneOrFail(PaymentAttempt, { paymentId });
  const outcomes = { SUCCEEDED: 'applied', VOID: 'payment failed', PENDING: 'payment pending' } as const;
  return {
    subscription,
    quote: await quoteOfPayment(ctx, tx, payment, subscription),
    outcome: outcomes[payment.status],
    actionUrl: (attempt.state === 'WAITING' && attempt.checkoutUrl) || '',
    declineCode: attempt.declineCode ?? '',
  };
}

/** What the audit log keeps beside the two states: an upgrade changes them only when it is paid. */
function askedFor({ target, quote }: DecidedPlanChange): object {
  const { timing, due } = quote;
  return { asked_plan_code: target.planCode, asked_price_id: target.priceId, timing, due };
}
