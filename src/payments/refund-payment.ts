import { businessNow } from '../db/clock.ts';
import { recordAudit } from '../audit/record-audit.ts';
import { onceOrRehearsed } from '../identity/once-or-rehearsed.ts';
import { requestKey } from '../identity/once.ts';
import type { CallContext } from '../identity/call-context.ts';
import { BillingError } from '../lib/billing-error.ts';
import type { Money } from '../lib/money.ts';
import { claimRefund, lockRefundable } from './claim-refunds.ts';
import { Payment } from './payment.ts';

export interface RefundPaymentInput {
  requestId: string;
  paymentId: string;
  /** In the payment's currency; undefined for all that is left. */
  amountMinor: bigint | undefined;
  /** The operator's words. */
  reason: string;
  /** Only say what would be. */
  validateOnly?: boolean;
}

export interface RefundClaim {
  readonly refundId: string;
  readonly paymentId: string;
  readonly amount: Money;
  /** Of the payment, after this refund. */
  readonly left: Money;
}

/**
 * Gives money of a payment back, all or a part; it is on its way when this returns. It changes no access. Throws
 * PAYMENT_NOT_FOUND, PAYMENT_OUTCOME_PENDING, DISPUTE_OPEN, NOTHING_TO_REFUND, REFUND_TOO_LARGE.
 */
export async function refundPayment(ctx: CallContext, input: RefundPaymentInput): Promise<RefundClaim> {
  const { requestId, validateOnly = false, ...asked } = input;
  const key = requestKey(ctx, 'RefundPayment', requestId, asked);
  const claimed = await onceOrRehearsed(ctx, key, validateOnly, async (tx) => {
    const payment = await tx.findOne(Payment, { id: input.paymentId });
    if (!payment) throw new BillingError('not-found', 'PAYMENT_NOT_FOUND', 'no such payment');
    const { attemptId, left } = await lockRefundable(tx, input.paymentId);
    const amount = { ...left, amountMinor: input.amountMinor ?? left.amountMinor };
    if (amount.amountMinor > left.amountMinor) {
      throw new BillingError('wrong-state', 'REFUND_TOO_LARGE', 'more than is left of this payment', {
        metadata: { left_minor: left.amountMinor.toString(), currency_code: left.currencyCode },
      });
    }
    const now = await businessNow(tx);
    const refundId = await claimRefund(tx, { attemptId, amount, reason: 'REQUESTED' }, now);
    const rest = { ...left, amountMinor: left.amountMinor - amount.amountMinor };
    await recordAudit(
      ctx,
      tx,
      {
        action: 'RefundPayment',
        targetKind: 'payment',
        targetId: payment.id,
        userId: payment.userId,
        reason: input.reason,
        before: { left },
        after: { left: rest, refund_id: refundId, amount },
      },
      now,
    );
    return { refundId, paymentId: input.paymentId, amount, left: rest };
  });
  ctx.wake('renewals');
  return claimed;
}
