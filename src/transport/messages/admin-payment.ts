import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  AttemptState,
  DisputeState,
  ReceiptState,
  RefundState,
  WebhookEventState,
  type AdminPaymentSchema,
  type DisputeSchema,
  type WebhookEventSchema,
} from '@cinema-billing/gen/billing/admin/v1/payment_admin_service_pb.ts';
import type { DisputeRecord } from '../../admin/list-disputes.ts';
import type { PaymentRecord } from '../../admin/payment-record.ts';
import type { WebhookEventView } from '../../admin/webhook-events.ts';
import { presentTimestamps, toTimestamp } from './instant.ts';
import { toPaymentMessage } from './payment.ts';

/** A payment as operators see it. */
export function toAdminPaymentMessage(record: PaymentRecord): MessageInitShape<typeof AdminPaymentSchema> {
  const { payment, adjustments, refunded, attempts, refunds, disputes, receipts, needsAttention } = record;
  const { currencyCode, amountMinor } = payment;
  const waiting = attempts.find(({ attempt }) => attempt.kind === 'charge' && attempt.state === 'WAITING');
  const actionUrl = waiting?.attempt.checkoutUrl ?? '';
  return {
    payment: toPaymentMessage({
      ...paymentFields(payment),
      amount: { currencyCode, amountMinor },
      refunded,
      actionUrl,
      adjustments,
    }),
    userId: payment.userId,
    needsAttention,
    disputes: disputes.map(toDisputeMessage),
    receipts: receipts.map(({ state, ...receipt }) => ({ ...receipt, state: ReceiptState[state] })),
    attempts: attempts.map(({ attempt, methodLabel }) => ({
      id: attempt.id,
      attemptNumber: attempt.attemptNumber,
      state: AttemptState[attempt.state],
      provider: attempt.provider,
      providerPaymentId: attempt.providerPaymentId ?? '',
      idempotencyKey: attempt.idempotencyKey,
      methodLabel,
      declineCode: attempt.declineCode ?? '',
      declineHard: attempt.declineHard ?? false,
      surplus: attempt.surplus,
      attached: attempt.kind === 'attached',
      createdAt: toTimestamp(attempt.createdAt),
      ...presentTimestamps({ settledAt: attempt.settledAt, nextCheckAt: attempt.nextCheckAt }),
    })),
    refunds: refunds.map(({ id, amount, state, cause, providerRefundId, createdAt, settledAt }) => ({
      id,
      amount,
      state: RefundState[state],
      cause,
      providerRefundId,
      createdAt: toTimestamp(createdAt),
      ...presentTimestamps({ settledAt }),
    })),
  };
}

function paymentFields(payment: PaymentRecord['payment']) {
  const { id, subscriptionId, purpose, status, periodStart, periodEnd, createdAt, settledAt } = payment;
  return { id, subscriptionId, purpose, status, periodStart, periodEnd, createdAt, settledAt };
}

/** What a cardholder said to the bank. */
export function toDisputeMessage(dispute: DisputeRecord): MessageInitShape<typeof DisputeSchema> {
  const { state, openedAt, closedAt, ...same } = dispute;
  return { ...same, state: DisputeState[state], openedAt: toTimestamp(openedAt), ...presentTimestamps({ closedAt }) };
}

/** A payment system's notice, without its bytes. */
export function toWebhookEventMessage(event: WebhookEventView): MessageInitShape<typeof WebhookEventSchema> {
  const { provider, providerEventId, type, state, note, tries, receivedAt, processedAt } = event;
  return {
    provider,
    providerEventId,
    type,
    note,
    tries,
    state: WebhookEventState[state],
    providerPaymentId: event.providerPaymentId ?? '',
    receivedAt: toTimestamp(receivedAt),
    ...presentTimestamps({ processedAt }),
  };
}
