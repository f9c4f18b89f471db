import { sql } from 'kysely';
import { businessNow } from '../db/clock.ts';
import { inTransaction } from '../db/orm.ts';
import { enqueueNotices } from '../outbox/customer-notices.ts';
import { mapBounded } from './call-provider.ts';
import { findProviderOf, type PaymentsContext } from './providers.ts';
import type { ReceiptOutcome } from './provider.ts';

const batchMax = 100;
const concurrencyMax = 4;
/** Between looks: a register takes seconds, or hours on a bad day; then hourly. */
const checkDelaysMinutes = [2, 10, 60];
const givenUpAfterChecks = 100;

interface DueReceipt {
  id: string;
  provider: string;
  merchant_account: string;
  provider_payment_id: string;
  provider_refund_id: string | null;
  /** What became of the charge, or of the refund. */
  outcome: 'done' | 'never' | 'open';
  checks: number;
  payment_id: string;
  subscription_id: string;
  user_id: string;
}

/**
 * Asks providers what became of receipts, which they issue some time after the money. One whose money never moved is
 * void. One that fails, or is not there for days, is left to a person. Gives how many were due.
 */
export async function followReceipts(ctx: PaymentsContext): Promise<number> {
  const receipts = await claimDue(ctx);
  await mapBounded(receipts, concurrencyMax, async (receipt) => {
    try {
      await followReceipt(ctx, receipt);
    } catch (error) {
      ctx.log.warn({ err: error, receipt: receipt.id }, 'receipt is not looked up yet');
    }
  });
  return receipts.length;
}

async function claimDue(ctx: PaymentsContext): Promise<DueReceipt[]> {
  return inTransaction(ctx.em, async (tx) => {
    const now = await businessNow(tx);
    const { rows } = await sql<DueReceipt>`
      select c.id, a.provider, a.merchant_account, coalesce(a.provider_payment_id, '') as provider_payment_id,
        r.provider_refund_id, c.checks, a.payment_id, a.subscription_id, p.user_id,
        case when coalesce(r.state, a.state) = 'SUCCEEDED' then 'done'
          when coalesce(r.state, a.state) in ('FAILED', 'DECLINED', 'DEAD') then 'never' else 'open' end as outcome
      from receipt c join payment_attempt a on a.id = c.attempt_id join payment p on p.id = a.payment_id left join refund r on r.id = c.refund_id
      where c.next_check_at <= ${now.toString()}
      order by c.next_check_at, c.id limit ${batchMax} for update of c skip locked
    `.execute(tx.getKysely());
    await sql`
      update receipt c set checks = c.checks + 1, next_check_at = due.at
      from unnest(${rows.map(({ id }) => id)}::uuid[], ${rows.map(({ checks }) => nextLook(checks, now))}::timestamptz[])
        as due(id, at)
      where c.id = due.id
    `.execute(tx.getKysely());
    return rows;
  });
}

function nextLook(checks: number, now: Temporal.Instant): string {
  const minutes = checkDelaysMinutes[Math.min(checks, checkDelaysMinutes.length - 1)]!;
  return now.add({ minutes }).toString();
}

async function followReceipt(ctx: PaymentsContext, receipt: DueReceipt): Promise<void> {
  if (receipt.outcome === 'never') return settle(ctx, receipt, 'VOID', '');
  if (receipt.outcome === 'open') return;
  const key = { provider: receipt.provider, merchantAccount: receipt.merchant_account };
  const found: ReceiptOutcome | undefined = await findProviderOf(ctx, key)?.lookUpReceipt({
    providerPaymentId: receipt.provider_payment_id,
    providerRefundId: receipt.provider_refund_id ?? undefined,
  });
  if (found?.status === 'issued') return settle(ctx, receipt, 'ISSUED', found.fiscalDocument);
  if (found?.status !== 'failed' && receipt.checks < givenUpAfterChecks) return;
  ctx.log.error({ receipt: receipt.id, ...key }, 'a receipt was not issued: a person has to look');
  return settle(ctx, receipt, 'FAILED', '');
}

async function settle(
  ctx: PaymentsContext,
  { id, user_id: userId, subscription_id: subscriptionId, payment_id: paymentId }: DueReceipt,
  state: 'ISSUED' | 'FAILED' | 'VOID',
  fiscalDocument: string,
): Promise<void> {
  await inTransaction(ctx.em, async (tx) => {
    const now = await businessNow(tx);
    const { numAffectedRows } = await sql`
      update receipt set state = ${state}, fiscal_document = ${fiscalDocument}, next_check_at = null,
        settled_at = ${now.toString()}
      where id = ${id} and state = 'PENDING'
    `.execute(tx.getKysely());
    if (numAffectedRows !== 1n || state !== 'ISSUED') return;
    const body = { kind: 'receiptIssued', paymentId, fiscalDocument } as const;
    await enqueueNotices(tx, [{ userId, subscriptionId, body }], now);
  });
}
