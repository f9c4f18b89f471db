import { sql } from 'kysely';
import { instantFromRow, optionalInstantFromRow } from '../db/instant-type.ts';
import { cutPage, pageSizeOf, readPageToken, type PageRequest } from '../db/page.ts';
import type { CallContext } from '../identity/call-context.ts';
import type { Money } from '../lib/money.ts';
import { readAdjustments, type Adjustment } from '../promotions/discounts.ts';
import type { PaymentPurpose, PaymentStatus } from './payment.ts';

/** A payment as a person looks at it. */
export interface ListedPayment {
  readonly id: string;
  readonly subscriptionId: string;
  readonly purpose: PaymentPurpose;
  readonly amount: Money;
  /** What went back or is on its way back. */
  readonly refunded: Money;
  readonly status: PaymentStatus;
  readonly periodStart: Temporal.Instant | null;
  readonly periodEnd: Temporal.Instant | null;
  readonly createdAt: Temporal.Instant;
  readonly settledAt: Temporal.Instant | null;
  /** Where the customer confirms the charge that waits for them; empty for none. */
  readonly actionUrl: string;
  /** What makes the amount another one than the price. */
  readonly adjustments: readonly Adjustment[];
}

interface Row {
  id: string;
  subscription_id: string;
  purpose: PaymentPurpose;
  amount_minor: string;
  refunded_minor: string;
  currency_code: string;
  status: PaymentStatus;
  period_start: string | null;
  period_end: string | null;
  created_at: string;
  settled_at: string | null;
  action_url: string | null;
}

/**
 * A viewer's payments, newest first; set-ups, which take no money, are none. `userId` was checked against the actor.
 * Found through the viewer's subscriptions: an index of payments by viewer would cost every renewal a write.
 */
export async function listPayments(
  ctx: CallContext,
  input: PageRequest & { userId: string },
): Promise<{ items: ListedPayment[]; nextPageToken: string }> {
  const list = `payments of ${input.userId}`;
  const cursor = readPageToken(ctx, list, input);
  const after = cursor ? sql`and (p.created_at, p.id) < (${cursor.at.toString()}, ${cursor.id}::uuid)` : sql``;
  const em = ctx.em.fork();
  const { rows } = await sql<Row>`
    select p.id, p.subscription_id, p.purpose, p.amount_minor, p.currency_code, p.status, p.period_start, p.period_end,
      p.created_at, p.settled_at,
      (select a.checkout_url from payment_attempt a
        where a.payment_id = p.id and a.kind = 'charge' and a.state = 'WAITING') as action_url,
      (select coalesce(sum(r.amount_minor), 0) from refund r join payment_attempt a on a.id = r.attempt_id
        where a.payment_id = p.id and not a.surplus and r.reason <> 'SURPLUS' and r.state <> 'FAILED') as refunded_minor
    from payment p where p.subscription_id in (select id from subscription where user_id = ${input.userId})
      and p.amount_minor > 0 ${after}
    order by p.created_at desc, p.id desc limit ${pageSizeOf(input) + 1}
  `.execute(em.getKysely());
  const lines = Map.groupBy(
    await readAdjustments(
      em,
      rows.map(({ id }) => id),
    ),
    ({ paymentId }) => paymentId,
  );
  const payments = rows.map((row) => ({ ...fromRow(row), adjustments: lines.get(row.id) ?? [] }));
  return cutPage(ctx, list, input, payments, ({ createdAt, id }) => ({ at: createdAt, id }));
}

function fromRow(row: Row): Omit<ListedPayment, 'adjustments'> {
  const money = (amountMinor: string) => ({ currencyCode: row.currency_code, amountMinor: BigInt(amountMinor) });
  return {
    id: row.id,
    subscriptionId: row.subscription_id,
    purpose: row.purpose,
    amount: money(row.amount_minor),
    refunded: money(row.refunded_minor),
    status: row.status,
    periodStart: optionalInstantFromRow(row.period_start),
    periodEnd: optionalInstantFromRow(row.period_end),
    createdAt: instantFromRow(row.created_at),
    settledAt: optionalInstantFromRow(row.settled_at),
    actionUrl: row.action_url ?? '',
  };
}
