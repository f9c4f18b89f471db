import { businessNow } from '../db/clock.ts';
import { onceOrRehearsed } from '../identity/once-or-rehearsed.ts';
import { requestKey } from '../identity/once.ts';
import { auditChange } from './audit-change.ts';
import { requireVisible } from './find-subscription.ts';
import { resume } from './commands.ts';
import { lockSubscriptions, storeChanges, type SubscriptionsContext } from './subscription-rows.ts';
import type { SubscriptionState } from './subscription.ts';

/**
 * T18: undoes a scheduled cancellation before the period's end. Throws SUBSCRIPTION_NOT_FOUND, ILLEGAL_TRANSITION.
 */
export async function resumeSubscription(
  ctx: SubscriptionsContext,
  input: { requestId: string; subscriptionId: string; reason?: string; validateOnly?: boolean },
): Promise<SubscriptionState> {
  const { requestId, validateOnly = false, ...asked } = input;
  const key = requestKey(ctx, 'ResumeSubscription', requestId, asked);
  const resumed = await onceOrRehearsed(ctx, key, validateOnly, async (tx) => {
    const state = requireVisible(ctx, (await lockSubscriptions(tx, [input.subscriptionId])).get(input.subscriptionId));
    const now = await businessNow(tx);
    const change = resume(state, now, input.reason);
    await storeChanges(ctx, tx, [change], now);
    await auditChange(ctx, tx, 'ResumeSubscription', change, now);
    return change.after;
  });
  ctx.wake('relay');
  return resumed;
}
