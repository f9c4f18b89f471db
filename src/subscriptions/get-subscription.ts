import type { CallContext } from '../identity/call-context.ts';
import { findSubscription } from './find-subscription.ts';
import type { SubscriptionState } from './subscription.ts';

/** One subscription of the actor, or for a service any. Throws SUBSCRIPTION_NOT_FOUND. */
export async function getSubscription(ctx: CallContext, input: { subscriptionId: string }): Promise<SubscriptionState> {
  return findSubscription(ctx, ctx.em.fork(), input.subscriptionId);
}
