import { businessNow } from '../db/clock.ts';
import { inTransaction } from '../db/orm.ts';
import { enqueueNotices } from '../outbox/customer-notices.ts';
import { findAttempts, lockAttempts, voidUnsentAttempts, type AttemptRow } from '../payments/attempt-rows.ts';
import { PaymentAttempt } from '../payments/payment.ts';
import type { DisputeOutcome } from '../payments/provider.ts';
import { hasOpenDispute, storeDispute, type DisputeNews } from '../payments/store-dispute.ts';
import { loseDispute, reinstateFunds, withdrawFunds } from './dispute-rules.ts';
import type { SubscriptionChange } from './lifecycle.ts';
import { lockSubscriptions, storeChanges, type SubscriptionsContext } from './subscription-rows.ts';
import type { SubscriptionState } from './subscription.ts';

/**
 * T24: what the provider says of a dispute, with all that follows, in one transaction: the dispute, the money in the
 * journal, the subscription, its history and its rights. Idempotent, because a dispute moves only forward. `open` when
 * we do not know yet that the disputed charge succeeded.
 */
export async function settleDispute(
  ctx: SubscriptionsContext,
  attemptId: string,
  outcome: DisputeOutcome,
): Promise<'settled' | 'already settled' | 'open'> {
  const result = await inTransaction(ctx.em, async (tx) => {
    const [found] = await findAttempts(tx, [attemptId]);
    const { subscriptionId } = found!;
    const state = (await lockSubscriptions(tx, [subscriptionId])).get(subscriptionId)!;
    const attempt = (await lockAttempts(tx, [attemptId]))[0]!;
    if (attempt.state !== 'SUCCEEDED') return 'open';
    const now = await businessNow(tx);
    const news = await storeDispute(tx, attempt, outcome, now);
    if (news.state === 'known') return 'already settled';
    const isStillDisputed = await hasOpenDispute(tx, subscriptionId);
    const { surplus } = await tx.findOneOrFail(PaymentAttempt, { id: attemptId });
    const facts = { reason: outcome.reason, isStillDisputed, surplus };
    const changes = changesOf(state, attempt, news, facts, now);
    const after = changes.at(-1)!.after;
    // As after a cancellation: what is written down and not sent never will be.
    const isHalted = after.renewalBlocked || after.endedAt !== null;
    const voided = isHalted ? await voidUnsentAttempts(tx, [subscriptionId], now) : new Set<string>();
    await storeChanges(
      ctx,
      tx,
      changes.map((change) => withoutVoid(change, voided)),
      now,
    );
    if (news.isFirst) {
      const { userId, paymentId } = attempt;
      const body = { kind: 'disputeOpened', amount: outcome.amount, paymentId } as const;
      await enqueueNotices(tx, [{ userId, subscriptionId, body }], now);
    }
    return 'settled';
  });
  const facts = { dispute: outcome.providerDisputeId, attempt: attemptId, status: outcome.status };
  if (result === 'settled') {
    ctx.log.error({ ...facts, reason: outcome.reason }, 'dispute');
    ctx.wake('relay');
    ctx.wake('renewals');
  }
  return result;
}

function changesOf(
  state: SubscriptionState,
  attempt: AttemptRow,
  { state: disputeState, isFirst }: DisputeNews,
  { reason, isStillDisputed, surplus }: { reason: string; isStillDisputed: boolean; surplus: boolean },
  now: Temporal.Instant,
): SubscriptionChange[] {
  // Money that nobody waited for never touches the subscription (T5).
  const opened = isFirst ? [surplus ? noted(state, 'DISPUTE_OPENED', reason) : withdrawFunds(state, reason)] : [];
  const open = opened.at(-1)?.after ?? state;
  if (disputeState === 'OPEN') return opened;
  if (disputeState === 'LOST') {
    const paidCurrentPeriod = !surplus && hasPaidCurrentPeriod(attempt, state);
    return [...opened, ...loseDispute(open, { reason, paidCurrentPeriod }, now)];
  }
  return [...opened, isStillDisputed ? noted(open, 'DISPUTE_REINSTATED', reason) : reinstateFunds(open, reason, now)];
}

function noted(
  state: SubscriptionState,
  kind: 'DISPUTE_OPENED' | 'DISPUTE_REINSTATED',
  reason: string,
): SubscriptionChange {
  return { before: state, after: state, kind, reason, entitlement: undefined };
}

/**
 * Whether the payment bought the current period, or a better plan for what is left of it. The latter by where it begins:
 * the end moves when days are given.
 */
function hasPaidCurrentPeriod(
  { purpose, periodStart }: AttemptRow,
  { cycle, currentPeriodStart }: SubscriptionState,
): boolean {
  if (purpose.startsWith('change:')) {
    return periodStart !== null && Temporal.Instant.compare(periodStart, currentPeriodStart!) >= 0;
  }
  return purpose === 'initial' ? cycle === 0 : purpose === `cycle:${cycle}`;
}

function withoutVoid(change: SubscriptionChange, voided: ReadonlySet<string>): SubscriptionChange {
  const { openPaymentId } = change.after;
  const isVoid = openPaymentId !== null && voided.has(openPaymentId);
  return isVoid ? { ...change, after: { ...change.after, openPaymentId: null } } : change;
}
