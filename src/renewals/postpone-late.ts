import { businessNow } from '../db/clock.ts';
import { inBatchTransaction } from '../db/orm.ts';
import { enqueueNotices } from '../outbox/customer-notices.ts';
import type { PaymentsContext } from '../payments/providers.ts';
import { postponeCharge } from '../subscriptions/lifecycle.ts';
import { lockLateSubscriptions, storeChanges, type SubscriptionsContext } from '../subscriptions/subscription-rows.ts';
import { upcomingCharges } from '../subscriptions/upcoming-charges.ts';

const batchMax = 500;
const noticeHours = 24;

/**
 * One batch of charges that were due while billing was away for more than a week: nobody expects them any more. Their
 * viewers are told, and charged a day later, for the period that contains that day. Gives how many there were.
 */
export async function postponeLate(ctx: SubscriptionsContext & PaymentsContext): Promise<number> {
  const count = await inBatchTransaction(ctx.em, async (tx) => {
    const now = await businessNow(tx);
    const states = await lockLateSubscriptions(tx, { now, countMax: batchMax });
    if (states.length === 0) return 0;
    const chargedAt = now.add({ hours: noticeHours });
    const changes = states.map((state) => postponeCharge(state, chargedAt));
    await storeChanges(ctx, tx, changes, now);
    const charges = await upcomingCharges(ctx, tx, states);
    const notices = states.map(({ id, userId, status }) => {
      const kind = status === 'TRIALING' ? 'trialEnding' : 'renewalUpcoming';
      return { userId, subscriptionId: id, body: { kind, ...charges.get(id)!, chargedAt } as const };
    });
    await enqueueNotices(tx, notices, now);
    return states.length;
  });
  if (count > 0) {
    ctx.log.warn({ count }, 'charges are more than a week late: their viewers are told first');
    ctx.wake('relay');
  }
  return count;
}
