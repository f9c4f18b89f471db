import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  PaymentStatus,
  type PaymentMethodSchema,
  type PaymentSchema,
} from '@cinema-billing/gen/billing/v1/payment_pb.ts';
import type { PaymentMethod } from '../../payments/customer.ts';
import type { ListedPayment } from '../../payments/list-payments.ts';
import { presentTimestamps, toTimestamp } from './instant.ts';

/** A payment as its viewer sees it. */
export function toPaymentMessage(payment: ListedPayment): MessageInitShape<typeof PaymentSchema> {
  const { id, subscriptionId, purpose, amount, refunded, periodStart, periodEnd, settledAt, actionUrl } = payment;
  return {
    id,
    subscriptionId,
    purpose,
    amount,
    refunded,
    actionUrl,
    adjustments: payment.adjustments.map(({ amountMinor, description }) => ({
      amount: { currencyCode: amount.currencyCode, amountMinor },
      promoCode: description,
    })),
    status: PaymentStatus[payment.status],
    createdAt: toTimestamp(payment.createdAt),
    ...presentTimestamps({ periodStart, periodEnd, settledAt }),
  };
}

/** A saved method as its viewer sees it. */
export function toPaymentMethodMessage(
  method: PaymentMethod,
  inUse: boolean,
): MessageInitShape<typeof PaymentMethodSchema> {
  const { id, brand, last4, expiryMonth, expiryYear, consentVersion, consentedAt } = method;
  return {
    id,
    brand,
    last4,
    expiryMonth,
    expiryYear,
    inUse,
    createdAt: toTimestamp(method.createdAt),
    consentVersion: consentVersion ?? '',
    ...presentTimestamps({ consentedAt }),
  };
}
