import { cutPage, pageSizeOf, readPageToken, type PageRequest } from '../db/page.ts';
import type { CallContext } from '../identity/call-context.ts';
import type { SubscriptionStatus } from '../subscriptions/state-table.ts';
import { Subscription } from '../subscriptions/subscription.ts';
import { withMethods, type SubscriptionRecord } from './subscription-record.ts';

/** Empty parts match everything. */
export interface ListAllSubscriptionsInput extends PageRequest {
  readonly userId: string;
  readonly status: SubscriptionStatus | undefined;
  readonly planCode: string;
}

/** Subscriptions of all viewers, newest first (ids are in the order of their making). Throws PAGE_TOKEN_INVALID. */
export async function listAllSubscriptions(
  ctx: CallContext,
  input: ListAllSubscriptionsInput,
): Promise<{ items: SubscriptionRecord[]; nextPageToken: string }> {
  const { userId, status, planCode } = input;
  const list = JSON.stringify(['subscriptions', userId, status, planCode]);
  const cursor = readPageToken(ctx, list, input);
  const em = ctx.em.fork();
  const rows = await em.find(
    Subscription,
    {
      ...(userId && { userId }),
      ...(status && { status }),
      ...(planCode && { plan: { code: planCode } }),
      ...(cursor && { id: { $lt: cursor.id } }),
    },
    { populate: ['plan', 'price'], orderBy: { id: 'desc' }, limit: pageSizeOf(input) + 1 },
  );
  return cutPage(ctx, list, input, await withMethods(em, rows), ({ state }) => ({ at: state.createdAt, id: state.id }));
}
