import { businessNow } from '../db/clock.ts';
import { once, requestKey } from '../identity/once.ts';
import { requireVisible } from './find-subscription.ts';
import { resume } from './commands.ts';
import { lockSubscriptions, storeChanges, type SubscriptionsContext } from './subscription-rows.ts';
import type { SubscriptionState } from './subscription.ts';

/**
 * T18: undoes a scheduled cancellation before the period's end. Throws SUBSCRIPTION_NOT_FOUND, ILLEGAL_TRANSITION.
 */
export async function resumeSubscription(
  ctx: SubscriptionsContext,
  input: { requestId: string; subscriptionId: string },
): Promise<SubscriptionState> {
  const { requestId, ...asked } = input;
  const resumed = await once(ctx, requestKey(ctx, 'ResumeSubscription', requestId, asked), async (tx) => {
    const state = requireVisible(ctx, (await lockSubscriptions(tx, [input.subscriptionId])).get(input.subscriptionId));
    const now = await businessNow(tx);
    const change = resume(state, now);
    await storeChanges(ctx, tx, [change], now);
    return change.after;
  });
  ctx.wake('relay');
  return resumed;
}
