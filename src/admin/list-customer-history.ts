import { cutPage, pageSizeOf, readPageToken, type PageRequest } from '../db/page.ts';
import type { CallContext } from '../identity/call-context.ts';
import { SubscriptionEvent } from '../subscriptions/subscription-event.ts';
import { Subscription } from '../subscriptions/subscription.ts';
import { requireCustomer } from './get-customer.ts';

/** More than anybody takes out in a life. */
const subscriptionsMax = 1_000;

/**
 * The history of all of a viewer's subscriptions, newest first, by the subscriptions' index. Throws CUSTOMER_NOT_FOUND,
 * PAGE_TOKEN_INVALID.
 */
export async function listCustomerHistory(
  ctx: CallContext,
  input: PageRequest & { userId: string },
): Promise<{ items: SubscriptionEvent[]; nextPageToken: string }> {
  const { userId } = input;
  const list = JSON.stringify(['history', userId]);
  const cursor = readPageToken(ctx, list, input);
  const em = ctx.em.fork();
  await requireCustomer(em, userId);
  const subscriptions = await em.find(Subscription, { userId }, { orderBy: { id: 'desc' }, limit: subscriptionsMax });
  const rows = await em.find(
    SubscriptionEvent,
    {
      subscriptionId: { $in: subscriptions.map(({ id }) => id) },
      ...(cursor && { $or: [{ occurredAt: { $lt: cursor.at } }, { occurredAt: cursor.at, id: { $lt: cursor.id } }] }),
    },
    { orderBy: { occurredAt: 'desc', id: 'desc' }, limit: pageSizeOf(input) + 1 },
  );
  return cutPage(ctx, list, input, rows, ({ occurredAt, id }) => ({ at: occurredAt, id }));
}
