import { businessNow } from '../db/clock.ts';
import { inTransaction, type EntityManager } from '../db/orm.ts';
import { answerRequest, beginRequest, releaseRequest, requestKey } from '../identity/once.ts';
import { voidUnsentPayments } from '../payments/attempt-rows.ts';
import type { PaymentsContext } from '../payments/providers.ts';
import { endCheckout } from './end-checkout.ts';
import { requireVisible } from './find-subscription.ts';
import { cancel } from './lifecycle.ts';
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
}

/**
 * T4, T16, T17, T20: cancels at the end of the paid period or now. A renewal that is written down but not sent yet is
 * voided in the same transaction: no charge follows a committed cancel. One that was sent is followed to its end.
 * Throws SUBSCRIPTION_NOT_FOUND, ILLEGAL_TRANSITION; for an unpaid one also PROVIDER_UNAVAILABLE, PAYMENT_IN_PROGRESS.
 */
export async function cancelSubscription(
  ctx: SubscriptionsContext & PaymentsContext,
  input: CancelSubscriptionInput,
): Promise<SubscriptionState> {
  const { requestId, ...asked } = input;
  const key = requestKey(ctx, 'CancelSubscription', requestId, asked);
  const reason = input.reason || `CANCELED_BY_${ctx.actor.kind.toUpperCase()}`;
  let begun = false;
  let repeated = false;
  try {
    for (let round = 0; round < roundsMax; round++) {
      const answer = await inTransaction(ctx.em, async (tx) => {
        if (!begun) {
          const request = await beginRequest<SubscriptionState>(tx, key);
          if (request.seen && request.answer) return request.answer;
          repeated = request.seen;
        }
        const { subscriptionId } = input;
        const state = requireVisible(ctx, (await lockSubscriptions(tx, [subscriptionId])).get(subscriptionId));
        if (state.status === 'INCOMPLETE') return undefined;
        const isDone = (begun || repeated) && state.status === 'INCOMPLETE_EXPIRED';
        const canceled = isDone ? state : await cancelInTx(ctx, tx, state, { effective: input.effective, reason });
        await answerRequest(tx, key, canceled);
        return canceled;
      });
      if (answer) {
        ctx.wake('relay');
        return answer;
      }
      begun = true;
      // Not in a transaction: the page is killed at the payment system. Money that came just before makes it active.
      await endCheckout(ctx, input.subscriptionId, reason);
    }
    throw new Error('an unpaid subscription outlived the end of its checkout');
  } catch (error) {
    if (begun) await releaseRequest(ctx, key);
    throw error;
  }
}

async function cancelInTx(
  ctx: SubscriptionsContext,
  tx: EntityManager,
  state: SubscriptionState,
  { effective, reason }: { effective: 'at-period-end' | 'now'; reason: string },
): Promise<SubscriptionState> {
  const now = await businessNow(tx);
  const change = cancel(state, effective, reason, now);
  const voided = await voidUnsentPayments(tx, [state.id], now);
  const { openPaymentId } = change.after;
  const after =
    openPaymentId !== null && voided.has(openPaymentId) ? { ...change.after, openPaymentId: null } : change.after;
  await storeChanges(ctx, tx, [{ ...change, after }], now);
  return after;
}
