import { sql } from 'kysely';
import { instantFromRow } from '../db/instant-type.ts';
import type { EntityManager } from '../db/orm.ts';
import { BillingError } from '../lib/billing-error.ts';
import type { Money } from '../lib/money.ts';
import { Payment, PaymentAttempt } from '../payments/payment.ts';
import { readAdjustments, type Adjustment } from '../promotions/discounts.ts';
import type { RefundReason } from '../payments/refund.ts';
import { readDisputesOf, type DisputeRecord } from './list-disputes.ts';
import { readReceiptsOf, type ReceiptRecord } from './read-receipts.ts';

export interface RefundRecord {
  readonly id: string;
  readonly paymentId: string;
  readonly amount: Money;
  readonly state: 'PENDING' | 'SUCCEEDED' | 'FAILED';
  readonly cause: RefundReason;
  /** Empty while it is not known. */
  readonly providerRefundId: string;
  readonly createdAt: Temporal.Instant;
  readonly settledAt: Temporal.Instant | null;
}

/** A payment with everything that was done for it. */
export interface PaymentRecord {
  readonly payment: Payment;
  readonly adjustments: readonly Adjustment[];
  /** What went back or is on its way; money that nobody waited for is not counted. */
  readonly refunded: Money;
  readonly attempts: readonly { readonly attempt: PaymentAttempt; readonly methodLabel: string }[];
  readonly refunds: readonly RefundRecord[];
  readonly disputes: readonly DisputeRecord[];
  readonly receipts: readonly ReceiptRecord[];
  /** An attempt's outcome is not known, or its amount is another one. */
  readonly needsAttention: boolean;
}

/** Reads payments in the order of the ids; a missing one is left out. */
export async function readPaymentRecords(em: EntityManager, ids: readonly string[]): Promise<PaymentRecord[]> {
  const payments = await em.find(Payment, { id: { $in: [...ids] } }, { refresh: true });
  const attempts = await em.find(
    PaymentAttempt,
    { paymentId: { $in: [...ids] } },
    { orderBy: { attemptNumber: 'asc' }, refresh: true },
  );
  const labels = await methodLabels(
    em,
    attempts.flatMap(({ paymentMethodId }) => paymentMethodId ?? []),
  );
  const refunds = await readRefunds(em, ids);
  const disputes = await readDisputesOf(em, ids);
  const receipts = await readReceiptsOf(em, ids);
  const adjustments = await readAdjustments(em, ids);
  const byId = new Map(payments.map((payment) => [payment.id, payment]));
  return ids.flatMap((id) => {
    const payment = byId.get(id);
    if (!payment) return [];
    const own = attempts.filter(({ paymentId }) => paymentId === id);
    const ownRefunds = refunds.filter(({ paymentId }) => paymentId === id);
    const back = ownRefunds.filter(({ cause, state }) => cause !== 'SURPLUS' && state !== 'FAILED');
    return {
      payment,
      adjustments: adjustments.filter(({ paymentId }) => paymentId === id),
      refunded: {
        currencyCode: payment.currencyCode,
        amountMinor: back.reduce((sum, { amount }) => sum + amount.amountMinor, 0n),
      },
      attempts: own.map((attempt) => ({ attempt, methodLabel: labels.get(attempt.paymentMethodId ?? '') ?? '' })),
      refunds: ownRefunds,
      disputes: disputes.filter(({ paymentId }) => paymentId === id),
      receipts: receipts.filter(({ paymentId }) => paymentId === id),
      needsAttention: own.some(({ state }) => state === 'UNKNOWN' || state === 'PARKED'),
    };
  });
}

/** One payment. Throws PAYMENT_NOT_FOUND. */
export async function requirePaymentRecord(em: EntityManager, id: string): Promise<PaymentRecord> {
  const [record] = await readPaymentRecords(em, [id]);
  if (!record) throw new BillingError('not-found', 'PAYMENT_NOT_FOUND', 'no such payment');
  return record;
}

async function methodLabels(em: EntityManager, ids: readonly string[]): Promise<Map<string, string>> {
  const { rows } = await sql<{ id: string; label: string }>`
    select id, brand || ' ··' || last4 as label from payment_method where id = any(${ids}::uuid[])
  `.execute(em.getKysely());
  return new Map(rows.map(({ id, label }) => [id, label]));
}

interface RefundRow {
  id: string;
  payment_id: string;
  amount_minor: string;
  currency_code: string;
  state: RefundRecord['state'];
  reason: RefundReason;
  provider_refund_id: string | null;
  created_at: string;
  settled_at: string | null;
}

async function readRefunds(em: EntityManager, paymentIds: readonly string[]): Promise<RefundRecord[]> {
  const { rows } = await sql<RefundRow>`
    select r.id, a.payment_id, r.amount_minor, r.currency_code, r.state, r.reason, r.provider_refund_id, r.created_at,
      r.settled_at
    from payment_attempt a join refund r on r.attempt_id = a.id
    where a.payment_id = any(${paymentIds}::uuid[]) order by r.id
  `.execute(em.getKysely());
  return rows.map((row) => ({
    id: row.id,
    paymentId: row.payment_id,
    amount: { currencyCode: row.currency_code, amountMinor: BigInt(row.amount_minor) },
    state: row.state,
    cause: row.reason,
    providerRefundId: row.provider_refund_id ?? '',
    createdAt: instantFromRow(row.created_at),
    settledAt: row.settled_at === null ? null : instantFromRow(row.settled_at),
  }));
}
