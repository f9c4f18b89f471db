import { sql } from 'kysely';
import { businessNow } from '../db/clock.ts';
import { inTransaction, type EntityManager } from '../db/orm.ts';
import type { Money } from '../lib/money.ts';
import { answerRequest, beginRequest, releaseRequest, requestKey } from '../identity/once.ts';
import { requireMayRefund } from '../identity/role-limits.ts';
import { voidUnsentPayments } from '../payments/attempt-rows.ts';
import { claimRefund } from '../payments/claim-refunds.ts';
import type { PaymentsContext } from '../payments/providers.ts';
import { auditChange } from './audit-change.ts';
import { refundOfCancellation, type RefundChoice } from './cancellation-refund.ts';
import { endCheckout } from './end-checkout.ts';
import { requireVisible } from './find-subscription.ts';
import { cancel } from './commands.ts';
import { lockSubscriptions, storeChanges, type SubscriptionsContext } from './subscription-rows.ts';
import type { SubscriptionState } from './subscription.ts';

/** Once to find it unpaid, once after its checkout was ended. */
const roundsMax = 2;

export interface CancelSubscriptionInput {
  requestId: string;
  subscriptionId: string;
  effective: 'at-period-end' | 'now';
  /** The caller's words for the history; empty for none. */
  reason: string;
  /** What goes back with a cancellation now. */
  refund: RefundChoice;
}

/** What a cancellation does, or did. */
export interface Cancellation {
  readonly subscription: SubscriptionState;
  /** What goes back; undefined for nothing. */
  readonly refund: Money | undefined;
}

/**
 * T4, T16, T17, T20: cancels at the end of the paid period or now, the latter with what goes back of the money. A renewal that is written down but not sent yet is
 * voided in the same transaction: no charge follows a committed cancel. One that was sent is followed to its end.
 * Throws SUBSCRIPTION_NOT_FOUND, ILLEGAL_TRANSITION, ROLE_LIMIT_EXCEEDED; for an unpaid one also PROVIDER_UNAVAILABLE, PAYMENT_IN_PROGRESS.
 */
export async function cancelSubscription(
  ctx: SubscriptionsContext & PaymentsContext,
  input: CancelSubscriptionInput,
): Promise<Cancellation> {
  const { requestId, ...asked } = input;
  const key = requestKey(ctx, 'CancelSubscription', requestId, asked);
  let begun = false;
  let repeated = false;
  try {
    for (let round = 0; round < roundsMax; round++) {
      const answer = await inTransaction(ctx.em, async (tx) => {
        if (!begun) {
          const request = await beginRequest<Cancellation>(tx, key);
          if (request.seen && request.answer) return request.answer;
          repeated = request.seen;
        }
        const { subscriptionId } = input;
        const state = requireVisible(ctx, (await lockSubscriptions(tx, [subscriptionId])).get(subscriptionId));
        if (state.status === 'INCOMPLETE') return undefined;
        const isDone = (begun || repeated) && state.status === 'INCOMPLETE_EXPIRED';
        if (isDone) await auditUnpaid(ctx, tx, state, input);
        const canceled = isDone ? { subscription: state, refund: undefined } : await cancelInTx(ctx, tx, state, asked);
        await answerRequest(tx, key, canceled);
        return canceled;
      });
      if (answer) {
        ctx.wake('relay');
        ctx.wake('renewals');
        return answer;
      }
      begun = true;
      // Not in a transaction: the page is killed at the payment system. Money that came just before makes it active.
      await endCheckout(ctx, input.subscriptionId, reasonOf(ctx, input), (tx, change, now) =>
        auditChange(ctx, tx, 'CancelSubscription', change, now),
      );
    }
    throw new Error('an unpaid subscription outlived the end of its checkout');
  } catch (error) {
    if (begun) await releaseRequest(ctx, key);
    throw error;
  }
}

/** What `cancelSubscription` would do at this moment, by the same code; nothing is done. An unpaid one just ends. */
export async function previewCancellation(
  ctx: SubscriptionsContext,
  input: Omit<CancelSubscriptionInput, 'requestId'>,
): Promise<Cancellation> {
  const em = ctx.em.fork();
  await em.begin();
  try {
    const { subscriptionId } = input;
    const state = requireVisible(ctx, (await lockSubscriptions(em, [subscriptionId])).get(subscriptionId));
    if (state.status === 'INCOMPLETE') return { subscription: state, refund: undefined };
    return await cancelInTx(ctx, em, state, input);
  } finally {
    await em.rollback();
  }
}

async function cancelInTx(
  ctx: SubscriptionsContext,
  tx: EntityManager,
  state: SubscriptionState,
  asked: Omit<CancelSubscriptionInput, 'requestId'>,
): Promise<Cancellation> {
  const now = await businessNow(tx);
  const change = cancel(state, asked.effective, reasonOf(ctx, asked), now);
  const back = change.after.endedAt === null ? undefined : await refundOfCancellation(tx, state, asked.refund, now);
  // What the plan gives back to anybody who leaves, every role may give.
  const chosen = asked.refund === 'policy' ? [] : (back?.parts ?? []);
  for (const { paidAt } of chosen) requireMayRefund(ctx.actor, paidAt, now);
  const voided = await voidUnsentPayments(tx, [state.id], now);
  const { openPaymentId } = change.after;
  const after =
    openPaymentId !== null && voided.has(openPaymentId) ? { ...change.after, openPaymentId: null } : change.after;
  await storeChanges(ctx, tx, [{ ...change, after }], now);
  await auditChange(ctx, tx, 'CancelSubscription', { ...change, after }, now);
  for (const { attemptId, amount } of back?.parts ?? []) {
    await claimRefund(tx, { attemptId, amount, reason: 'CANCELED' }, now);
  }
  return { subscription: after, refund: back?.amount };
}

/** The end itself wrote the entry, unless the notice of the killed page was faster and ended the subscription first. */
async function auditUnpaid(
  ctx: SubscriptionsContext,
  tx: EntityManager,
  state: SubscriptionState,
  input: CancelSubscriptionInput,
): Promise<void> {
  const { rows } = await sql`
    select from audit_entry where target_kind = 'subscription' and target_id = ${state.id} and action = 'CancelSubscription'
  `.execute(tx.getKysely());
  if (rows.length > 0) return;
  const before: SubscriptionState = { ...state, status: 'INCOMPLETE' };
  const change = { before, after: state, reason: reasonOf(ctx, input) };
  await auditChange(ctx, tx, 'CancelSubscription', change, await businessNow(tx));
}

function reasonOf(ctx: SubscriptionsContext, { reason }: { reason: string }): string {
  return reason || `CANCELED_BY_${ctx.actor.kind.toUpperCase()}`;
}
