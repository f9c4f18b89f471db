import { businessNow } from '../db/clock.ts';
import { inBatchTransaction, type EntityManager } from '../db/orm.ts';
import { enqueueNotices } from '../outbox/customer-notices.ts';
import type { PaymentsContext } from '../payments/providers.ts';
import { postponeCharge } from '../subscriptions/lifecycle.ts';
import { lockLateSubscriptions, storeChanges, type SubscriptionsContext } from '../subscriptions/subscription-rows.ts';
import type { SubscriptionState } from '../subscriptions/subscription.ts';
import { upcomingCharges } from '../subscriptions/upcoming-charges.ts';
import { findLateUntil } from './watch.ts';

const batchMax = 500;
const noticeHours = 24;

/**
 * One batch of charges that were due while nobody looked for more than a week: nobody expects them any more. Their
 * viewers are told, and charged a day later, for the period that contains that day. Who is past due was told of the
 * debt when it failed, and is tried again at once. Gives how many there were.
 */
export async function postponeLate(ctx: SubscriptionsContext & PaymentsContext): Promise<number> {
  const count = await inBatchTransaction(ctx.em, async (tx) => {
    const lateUntil = await findLateUntil(tx);
    const states = lateUntil ? await lockLateSubscriptions(tx, { lateUntil, countMax: batchMax }) : [];
    if (states.length === 0) return 0;
    const now = await businessNow(tx);
    const owing = states.filter(({ status }) => status === 'PAST_DUE');
    const renewing = states.filter(({ status }) => status !== 'PAST_DUE');
    const chargedAt = now.add({ hours: noticeHours });
    const changes = [
      ...owing.map((state) => postponeCharge(state, now)),
      ...renewing.map((state) => postponeCharge(state, chargedAt)),
    ];
    await storeChanges(ctx, tx, changes, now);
    await tell(ctx, tx, renewing, chargedAt, now);
    return states.length;
  });
  if (count > 0) {
    ctx.log.warn({ count }, 'charges were due while nobody looked for more than a week: their viewers are told first');
    ctx.wake('relay');
  }
  return count;
}

async function tell(
  ctx: PaymentsContext,
  tx: EntityManager,
  states: readonly SubscriptionState[],
  chargedAt: Temporal.Instant,
  now: Temporal.Instant,
): Promise<void> {
  const charges = await upcomingCharges(ctx, tx, states);
  const notices = states.map(({ id, userId, status }) => {
    const kind = status === 'TRIALING' ? 'trialEnding' : 'renewalUpcoming';
    return { userId, subscriptionId: id, body: { kind, ...charges.get(id)!, chargedAt } as const };
  });
  await enqueueNotices(tx, notices, now);
}
