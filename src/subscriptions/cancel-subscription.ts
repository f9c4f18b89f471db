import { businessNow } from '../db/clock.ts';
import type { EntityManager } from '../db/orm.ts';
import { once, requestKey } from '../identity/once.ts';
import { voidUnsentPayments } from '../payments/attempt-rows.ts';
import type { PaymentsContext } from '../payments/providers.ts';
import { endCheckout } from './end-checkout.ts';
import { findSubscription, requireVisible } from './find-subscription.ts';
import { cancel } from './lifecycle.ts';
import { lockSubscriptions, storeChanges, type SubscriptionsContext } from './subscription-rows.ts';
import type { SubscriptionState } from './subscription.ts';

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
  const found = await findSubscription(ctx, ctx.em.fork(), input.subscriptionId);
  const reason = input.reason || `CANCELED_BY_${ctx.actor.kind.toUpperCase()}`;
  if (found.status === 'INCOMPLETE') await endCheckout(ctx, found.id, reason);
  const canceled = await once(ctx, requestKey(ctx, 'CancelSubscription', requestId, asked), async (tx) => {
    const state = requireVisible(ctx, (await lockSubscriptions(tx, [input.subscriptionId])).get(input.subscriptionId));
    if (found.status === 'INCOMPLETE' && state.status === 'INCOMPLETE_EXPIRED') return state;
    return cancelInTx(ctx, tx, state, { effective: input.effective, reason });
  });
  ctx.wake('relay');
  return canceled;
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
