import { sql } from 'kysely';
import { cutPage, pageSizeOf, readPageToken, type PageRequest } from '../db/page.ts';
import type { CallContext } from '../identity/call-context.ts';
import type { AttemptState, PaymentStatus } from '../payments/payment.ts';
import { readPaymentRecords, requirePaymentRecord, type PaymentRecord } from './payment-record.ts';

/** Empty parts match everything. */
export interface ListAllPaymentsInput extends PageRequest {
  readonly userId: string;
  readonly subscriptionId: string;
  readonly status: PaymentStatus | undefined;
  readonly attemptState: AttemptState | undefined;
}

/** Payments, newest first (ids are in the order of their making). Throws PAGE_TOKEN_INVALID. */
export async function listAllPayments(
  ctx: CallContext,
  input: ListAllPaymentsInput,
): Promise<{ items: PaymentRecord[]; nextPageToken: string }> {
  const { userId, subscriptionId, status, attemptState } = input;
  const list = JSON.stringify(['payments', userId, subscriptionId, status, attemptState]);
  const cursor = readPageToken(ctx, list, input);
  const em = ctx.em.fork();
  const { rows } = await sql<{ id: string }>`
    select p.id from payment p where true
      ${userId === '' ? sql`` : sql`and p.subscription_id in (select id from subscription where user_id = ${userId})`}
      ${subscriptionId === '' ? sql`` : sql`and p.subscription_id = ${subscriptionId}`}
      ${status === undefined ? sql`` : sql`and p.status = ${status}`}
      ${attemptState === undefined ? sql`` : sql`and p.id in (select payment_id from payment_attempt where state = ${attemptState})`}
      ${cursor ? sql`and p.id < ${cursor.id}::uuid` : sql``}
    order by p.id desc limit ${pageSizeOf(input) + 1}
  `.execute(em.getKysely());
  const records = await readPaymentRecords(
    em,
    rows.map(({ id }) => id),
  );
  return cutPage(ctx, list, input, records, ({ payment }) => ({ at: payment.createdAt, id: payment.id }));
}

/** One payment with attempts and refunds. Throws PAYMENT_NOT_FOUND. */
export async function getPayment(ctx: CallContext, { paymentId }: { paymentId: string }): Promise<PaymentRecord> {
  return requirePaymentRecord(ctx.em.fork(), paymentId);
}
