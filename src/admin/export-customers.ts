import type { SubscriptionsContext } from '../subscriptions/subscription-rows.ts';
import { listCustomers, type CustomerSummary, type ListCustomersInput } from './list-customers.ts';

const rowsMax = 500;
const head = 'user_id,created_at,plan_code,status,currency,amount_minor,subscriptions\r\n';

/**
 * All that a search finds as CSV (RFC 4180, UTF-8), at most 500 rows at a time: the parts, put together in the order of
 * their tokens, are the file, and the first one begins with the head. Throws PAGE_TOKEN_INVALID, INVALID_FIELDS.
 */
export async function exportCustomers(
  ctx: SubscriptionsContext,
  input: Omit<ListCustomersInput, 'pageSize'>,
): Promise<{ csv: string; nextPageToken: string }> {
  const { items, nextPageToken } = await listCustomers(ctx, { ...input, pageSize: rowsMax });
  return { csv: (input.pageToken === '' ? head : '') + items.map(lineOf).join(''), nextPageToken };
}

/** Ids, codes, instants and numbers of ours: nothing in them has to be quoted, or could be taken for a formula. */
function lineOf({ userId, createdAt, newest, subscriptions }: CustomerSummary): string {
  const cells = [
    userId,
    createdAt.toString(),
    newest?.planCode ?? '',
    newest?.status ?? '',
    newest?.amount.currencyCode ?? '',
    newest?.amount.amountMinor.toString() ?? '',
    String(subscriptions),
  ];
  return `${cells.join(',')}\r\n`;
}
