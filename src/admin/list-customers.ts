import { sql, type RawBuilder } from 'kysely';
import { instantFromRow } from '../db/instant-type.ts';
import { cutPage, pageSizeOf, readPageToken, type PageRequest } from '../db/page.ts';
import { BillingError } from '../lib/billing-error.ts';
import { isUuid } from '../lib/ids.ts';
import type { Money } from '../lib/money.ts';
import type { SubscriptionStatus } from '../subscriptions/state-table.ts';
import {
  stateFromRow,
  subscriptionColumns,
  type SubscriptionRow,
  type SubscriptionsContext,
} from '../subscriptions/subscription-rows.ts';
import type { SubscriptionState } from '../subscriptions/subscription.ts';

/** Empty and undefined parts match everything. */
export interface ListCustomersInput extends PageRequest {
  /** A user, subscription or payment id, ours or the provider's, or a whole e-mail address. */
  readonly query: string;
  readonly last4: string;
  readonly amount: Money | undefined;
  /** 2027-01-31, in the service's time zone. */
  readonly paidOn: string;
  readonly status: SubscriptionStatus | undefined;
  readonly planCode: string;
  readonly includeNeverActive: boolean;
  readonly oldestFirst: boolean;
}

export interface CustomerSummary {
  readonly userId: string;
  readonly createdAt: Temporal.Instant;
  readonly newest: SubscriptionState | undefined;
  readonly subscriptions: number;
}

type CustomerRow = { customer_id: string; customer_since: string; count: number } & (SubscriptionRow | { id: null });

/** The registry of everyone who ever subscribed, and the one search in it. Throws PAGE_TOKEN_INVALID, INVALID_FIELDS. */
export async function listCustomers(
  ctx: SubscriptionsContext,
  input: ListCustomersInput,
): Promise<{ items: CustomerSummary[]; nextPageToken: string }> {
  const { pageSize: _size, pageToken: _token, amount, ...filter } = input;
  const list = JSON.stringify(['customers', filter, amount?.currencyCode, amount?.amountMinor.toString()]);
  const cursor = readPageToken(ctx, list, input);
  const after = input.oldestFirst ? sql.raw('>') : sql.raw('<');
  const direction = input.oldestFirst ? sql.raw('asc') : sql.raw('desc');
  const conditions = [
    ...conditionsOf(input, ctx.billingTimeZone),
    ...(cursor ? [sql`(c.created_at, c.user_id) ${after} (${cursor.at.toString()}, ${cursor.id}::uuid)`] : []),
  ];
  const em = ctx.em.fork();
  // One statement with plain rows: an operator waits for it, and the ORM would read the same in three more.
  const { rows } = await sql<CustomerRow>`
    select c.user_id as customer_id, c.created_at as customer_since, coalesce(s.count, 0) as count,
      ${subscriptionColumns}
    from customer c
      left join lateral (select own.*, (count(*) over ())::int as count from subscription own
        where own.user_id = c.user_id order by own.created_at desc, own.id desc limit 1) s on true
      left join plan on plan.id = s.plan_id left join price on price.id = s.price_id
    where ${conditions.length === 0 ? sql`true` : sql.join(conditions, sql` and `)}
    order by c.created_at ${direction}, c.user_id ${direction} limit ${pageSizeOf(input) + 1}
  `.execute(em.getKysely());
  const customers = rows.map((row) => ({
    userId: row.customer_id,
    createdAt: instantFromRow(row.customer_since),
    newest: row.id === null ? undefined : stateFromRow(row),
    subscriptions: row.count,
  }));
  return cutPage(ctx, list, input, customers, ({ createdAt, userId }) => ({ at: createdAt, id: userId }));
}

function conditionsOf(input: ListCustomersInput, timeZone: string): RawBuilder<unknown>[] {
  const { query, last4, amount, paidOn, status, planCode } = input;
  const found: RawBuilder<unknown>[] = [];
  if (query !== '') found.push(sql`c.user_id in (${usersOf(query)})`);
  if (last4 !== '') {
    found.push(sql`exists (select 1 from payment_method m where m.user_id = c.user_id and m.last4 = ${last4})`);
  }
  if (amount !== undefined || paidOn !== '') found.push(paidLike(amount, paidOn, timeZone));
  if (status !== undefined) found.push(sql`s.status = ${status}`);
  if (planCode !== '') found.push(sql`s.plan_id = (select id from plan where code = ${planCode})`);
  if (!input.includeNeverActive && query === '') {
    found.push(
      sql`exists (select 1 from subscription a where a.user_id = c.user_id and a.current_period_start is not null)`,
    );
  }
  return found;
}

/** Whoever a pasted id or address leads to; several viewers may have given one address, and all are meant. */
function usersOf(query: string): RawBuilder<unknown> {
  // No id of ours or of a provider's has an @ in it.
  if (query.includes('@')) return sql`select user_id from customer_contact where lower(email) = lower(${query})`;
  const byProviderId = sql`
    select s.user_id from payment_attempt a join subscription s on s.id = a.subscription_id
    where a.provider_payment_id = ${query}
  `;
  if (!isUuid(query)) return byProviderId;
  return sql`
    ${byProviderId}
    union all select ${query}::uuid
    union all select user_id from subscription where id = ${query}::uuid
    union all select user_id from payment where id = ${query}::uuid
    union all select s.user_id from payment_attempt a join subscription s on s.id = a.subscription_id
      where a.id = ${query}::uuid
  `;
}

/** A payment as a bank statement shows it; by the viewer's subscriptions, which have an index. */
function paidLike(amount: Money | undefined, paidOn: string, timeZone: string): RawBuilder<unknown> {
  const day = paidOn === '' ? undefined : dayOf(paidOn, timeZone);
  return sql`exists (
    select 1 from subscription a join payment p on p.subscription_id = a.id
    where a.user_id = c.user_id and p.status = 'SUCCEEDED'
      ${amount ? sql`and p.amount_minor = ${amount.amountMinor} and p.currency_code = ${amount.currencyCode}` : sql``}
      ${day ? sql`and p.settled_at >= ${day.start} and p.settled_at < ${day.end}` : sql``})`;
}

/** The instants of a civil day. Throws INVALID_FIELDS for a day that no calendar has. */
export function dayOf(day: string, timeZone: string, field = 'card.paid_on'): { start: string; end: string } {
  try {
    const date = Temporal.PlainDate.from(day, { overflow: 'reject' });
    const startOf = (at: Temporal.PlainDate) => at.toZonedDateTime(timeZone).toInstant().toString();
    return { start: startOf(date), end: startOf(date.add({ days: 1 })) };
  } catch (cause) {
    throw new BillingError('invalid', 'INVALID_FIELDS', 'fields of the request are not valid', {
      cause,
      fieldViolations: [{ field, description: 'must be a day of the calendar, like 2027-01-31' }],
    });
  }
}
