import type { CallContext } from '../identity/call-context.ts';
import { PaymentMethod } from '../payments/customer.ts';
import { Subscription } from './subscription.ts';

const methodsMax = 100;

/** A viewer's saved methods, newest first, and whether a subscription is charged with each. */
export async function listPaymentMethods(
  ctx: CallContext,
  input: { userId: string },
): Promise<{ method: PaymentMethod; inUse: boolean }[]> {
  const em = ctx.em.fork();
  const { userId } = input;
  const methods = await em.find(
    PaymentMethod,
    { userId, detachedAt: null },
    { orderBy: { createdAt: 'desc', id: 'desc' }, limit: methodsMax },
  );
  const open = await em.find(Subscription, { userId, endedAt: null });
  const used = new Set(open.map(({ paymentMethodId }) => paymentMethodId));
  return methods.map((method) => ({ method, inUse: used.has(method.id) }));
}
