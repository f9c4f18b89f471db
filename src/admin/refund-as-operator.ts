import { businessNow } from '../db/clock.ts';
import type { CallContext } from '../identity/call-context.ts';
import { requireMayRefund } from '../identity/role-limits.ts';
import { BillingError } from '../lib/billing-error.ts';
import type { Money } from '../lib/money.ts';
import { refundPayment, type RefundClaim } from '../payments/refund-payment.ts';
import { requirePaymentRecord } from './payment-record.ts';

/**
 * Gives money back within the operator's limits; undefined for all that is left. Throws ROLE_LIMIT_EXCEEDED,
 * INVALID_FIELDS for another currency or an amount that is not above zero, and what `refundPayment` throws.
 */
export async function refundAsOperator(
  ctx: CallContext,
  input: {
    requestId: string;
    reason: string;
    validateOnly: boolean;
    paymentId: string;
    amount: Money | undefined;
  },
): Promise<RefundClaim> {
  const { amount, ...rest } = input;
  const em = ctx.em.fork();
  const { payment } = await requirePaymentRecord(em, input.paymentId);
  requireMayRefund(ctx.actor, payment.settledAt ?? payment.createdAt, await businessNow(em));
  if (amount && (amount.currencyCode !== payment.currencyCode || amount.amountMinor <= 0n)) {
    throw new BillingError('invalid', 'INVALID_FIELDS', 'fields of the request are not valid', {
      fieldViolations: [{ field: 'amount', description: `must be more than nothing, in ${payment.currencyCode}` }],
    });
  }
  return refundPayment(ctx, { ...rest, amountMinor: amount?.amountMinor });
}
