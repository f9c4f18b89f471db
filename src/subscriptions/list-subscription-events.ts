import { cutPage, pageSizeOf, readPageToken, type PageRequest } from '../db/page.ts';
import type { CallContext } from '../identity/call-context.ts';
import { findSubscription } from './find-subscription.ts';
import { SubscriptionEvent } from './subscription-event.ts';

/** The history of one subscription, newest first. Throws SUBSCRIPTION_NOT_FOUND. */
export async function listSubscriptionEvents(
  ctx: CallContext,
  input: PageRequest & { subscriptionId: string },
): Promise<{ items: SubscriptionEvent[]; nextPageToken: string }> {
  const em = ctx.em.fork();
  const { id } = await findSubscription(ctx, em, input.subscriptionId);
  const list = `events of ${id}`;
  const cursor = readPageToken(ctx, list, input);
  const rows = await em.find(
    SubscriptionEvent,
    {
      subscriptionId: id,
      ...(cursor && { $or: [{ occurredAt: { $lt: cursor.at } }, { occurredAt: cursor.at, id: { $lt: cursor.id } }] }),
    },
    { orderBy: { occurredAt: 'desc', id: 'desc' }, limit: pageSizeOf(input) + 1 },
  );
  return cutPage(ctx, list, input, rows, (row) => ({ at: row.occurredAt, id: row.id }));
}
