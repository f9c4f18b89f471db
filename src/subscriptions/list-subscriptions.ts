import { cutPage, pageSizeOf, readPageToken, type PageRequest } from '../db/page.ts';
import type { CallContext } from '../identity/call-context.ts';
import { Subscription, type SubscriptionState } from './subscription.ts';

/** A viewer's subscriptions, newest first, ended ones included. `userId` has been checked against the actor. */
export async function listSubscriptions(
  ctx: CallContext,
  input: PageRequest & { userId: string },
): Promise<{ items: SubscriptionState[]; nextPageToken: string }> {
  const list = `subscriptions of ${input.userId}`;
  const cursor = readPageToken(ctx, list, input);
  const rows = await ctx.em.fork().find(
    Subscription,
    {
      userId: input.userId,
      ...(cursor && { $or: [{ createdAt: { $lt: cursor.at } }, { createdAt: cursor.at, id: { $lt: cursor.id } }] }),
    },
    { populate: ['plan', 'price'], orderBy: { createdAt: 'desc', id: 'desc' }, limit: pageSizeOf(input) + 1 },
  );
  return cutPage(ctx, list, input, rows, (row) => ({ at: row.createdAt, id: row.id }));
}
