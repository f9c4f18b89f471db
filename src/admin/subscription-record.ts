import type { EntityManager } from '../db/orm.ts';
import { PaymentMethod } from '../payments/customer.ts';
import type { SubscriptionState } from '../subscriptions/subscription.ts';

/** A subscription with the method that it is charged to. */
export interface SubscriptionRecord {
  readonly state: SubscriptionState;
  readonly method: PaymentMethod | undefined;
}

/** Adds the payment methods, in one query. */
export async function withMethods(
  em: EntityManager,
  states: readonly SubscriptionState[],
): Promise<SubscriptionRecord[]> {
  const ids = states.flatMap(({ paymentMethodId }) => paymentMethodId ?? []);
  const methods = await em.find(PaymentMethod, { id: { $in: ids } });
  const byId = new Map(methods.map((method) => [method.id, method]));
  return states.map((state) => ({ state, method: byId.get(state.paymentMethodId ?? '') }));
}
