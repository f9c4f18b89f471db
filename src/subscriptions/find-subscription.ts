import type { CallContext } from '../identity/call-context.ts';
import type { EntityManager } from '../db/orm.ts';
import { BillingError } from '../lib/billing-error.ts';
import { Subscription, type SubscriptionState } from './subscription.ts';

/** The same error, word for word, for a missing subscription and for another viewer's. */
export function subscriptionNotFound(): BillingError {
  return new BillingError('not-found', 'SUBSCRIPTION_NOT_FOUND', 'no such subscription');
}

/** Throws SUBSCRIPTION_NOT_FOUND unless the actor may see the subscription: a viewer only their own. */
export function requireVisible<S extends Pick<SubscriptionState, 'userId'>>(
  ctx: CallContext,
  subscription: S | null | undefined,
): S {
  const { actor } = ctx;
  if (!subscription || (actor.kind === 'customer' && actor.id !== subscription.userId)) throw subscriptionNotFound();
  return subscription;
}

/** One subscription that the actor may see, with plan and price. Throws SUBSCRIPTION_NOT_FOUND. */
export async function findSubscription(ctx: CallContext, em: EntityManager, id: string): Promise<Subscription> {
  return requireVisible(ctx, await em.findOne(Subscription, { id }, { populate: ['plan', 'price'] }));
}
