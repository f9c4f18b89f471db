import {
  AttemptState as ProtoAttemptState,
  DisputeState as ProtoDisputeState,
  DueKind,
  ResolveUnknownPaymentResponseSchema,
  WebhookEventState as ProtoEventState,
  type PaymentAdminService,
} from '@cinema-billing/gen/billing/admin/v1/payment_admin_service_pb.ts';
import { PaymentStatus as ProtoStatus } from '@cinema-billing/gen/billing/v1/payment_pb.ts';
import { attachOrphan } from '../../admin/attach-orphan.ts';
import { explainPayment } from '../../admin/explain-payment.ts';
import { listDisputes } from '../../admin/list-disputes.ts';
import { getPayment, listAllPayments } from '../../admin/list-all-payments.ts';
import { refundAsOperator } from '../../admin/refund-as-operator.ts';
import { resolveUnknownPayment } from '../../admin/resolve-unknown-payment.ts';
import { listWebhookEvents, replayWebhookEvent } from '../../admin/webhook-events.ts';
import type { SubscribeContext } from '../../subscriptions/subscribe.ts';
import type { Call } from '../call.ts';
import { toAdminPaymentMessage, toDisputeMessage, toWebhookEventMessage } from '../messages/admin-payment.ts';
import { enumName } from '../messages/enum-name.ts';
import { presentTimestamps } from '../messages/instant.ts';
import { toSubscriptionEventMessage, toSubscriptionMessage } from '../messages/subscription.ts';
import { repeatableAnswer } from '../repeatable-answer.ts';
import type { ServiceImpl } from '../router.ts';

/** Money: what was taken, why, and what needs a person. */
export function paymentAdminService(
  contextOf: (call: Call) => SubscribeContext,
): ServiceImpl<typeof PaymentAdminService> {
  return {
    async listPayments(call, request) {
      const { pageSize, pageToken, status, attemptState } = request;
      const { items, nextPageToken } = await listAllPayments(contextOf(call), {
        pageSize,
        pageToken,
        userId: request.userId.toLowerCase(),
        subscriptionId: request.subscriptionId.toLowerCase(),
        status: enumName(ProtoStatus, status),
        attemptState: enumName(ProtoAttemptState, attemptState),
      });
      return { payments: items.map(toAdminPaymentMessage), nextPageToken };
    },
    async getPayment(call, { paymentId }) {
      const record = await getPayment(contextOf(call), { paymentId: paymentId.toLowerCase() });
      return { payment: toAdminPaymentMessage(record) };
    },
    async explainPayment(call, { paymentId }) {
      const explained = await explainPayment(contextOf(call), { paymentId: paymentId.toLowerCase() });
      const { subscription, due } = explained;
      const { anchorAt, anchorCycle, billingTimeZone } = subscription;
      return {
        payment: toAdminPaymentMessage(explained),
        subscription: toSubscriptionMessage(subscription),
        due: {
          kind: DueKind[due.kind],
          cycle: due.cycle ?? 0,
          anchorCycle,
          billingTimeZone,
          ...presentTimestamps({ anchorAt }),
        },
        webhookEvents: explained.notices.map(toWebhookEventMessage),
        events: explained.history.map(toSubscriptionEventMessage),
      };
    },
    async refundPayment(call, { requestId, reason, validateOnly, paymentId, amount }) {
      const input = { requestId, reason, validateOnly, paymentId: paymentId.toLowerCase(), amount };
      const claim = await refundAsOperator(contextOf(call), input);
      return { refundId: validateOnly ? '' : claim.refundId, amount: claim.amount, left: claim.left };
    },
    async resolveUnknownPayment(call, { requestId, reason, validateOnly, paymentId }) {
      const input = { requestId, reason, validateOnly, paymentId: paymentId.toLowerCase() };
      const ctx = contextOf(call);
      const { record, resolved } = await resolveUnknownPayment(ctx, input);
      const answer = { payment: toAdminPaymentMessage(record), resolved };
      return repeatableAnswer(ctx, ResolveUnknownPaymentResponseSchema, input, answer);
    },
    async listDisputes(call, { pageSize, pageToken, state, userId }) {
      const { items, nextPageToken } = await listDisputes(contextOf(call), {
        pageSize,
        pageToken,
        state: enumName(ProtoDisputeState, state),
        userId: userId.toLowerCase(),
      });
      return { disputes: items.map(toDisputeMessage), nextPageToken };
    },
    async listWebhookEvents(call, { pageSize, pageToken, state }) {
      const { items, nextPageToken } = await listWebhookEvents(contextOf(call), {
        pageSize,
        pageToken,
        state: enumName(ProtoEventState, state),
      });
      return { events: items.map(toWebhookEventMessage), nextPageToken };
    },
    async replayWebhookEvent(call, { requestId, reason, validateOnly, provider, providerEventId }) {
      const input = { requestId, reason, validateOnly, provider, providerEventId };
      return { event: toWebhookEventMessage(await replayWebhookEvent(contextOf(call), input)) };
    },
    async attachOrphan(call, request) {
      const { requestId, reason, validateOnly, provider, providerEventId, giveBack } = request;
      const paymentId = request.paymentId.toLowerCase();
      const input = { requestId, reason, validateOnly, provider, providerEventId, paymentId, giveBack };
      const { amount, pays, paidUntil } = await attachOrphan(contextOf(call), input);
      return { amount, pays, ...presentTimestamps({ paidUntil }) };
    },
  };
}
