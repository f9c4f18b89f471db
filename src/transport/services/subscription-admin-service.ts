import {
  CancelSubscriptionResponseSchema,
  ChangePlanResponseSchema,
  ExtendPeriodResponseSchema,
  GrantSubscriptionResponseSchema,
  ResumeSubscriptionResponseSchema,
  RetryPaymentResponseSchema,
  type SubscriptionAdminService,
} from '@cinema-billing/gen/billing/admin/v1/subscription_admin_service_pb.ts';
import { CancelEffective } from '@cinema-billing/gen/billing/v1/subscription_service_pb.ts';
import { listAllSubscriptions } from '../../admin/list-all-subscriptions.ts';
import { requireMayGive } from '../../identity/role-limits.ts';
import { withMethods } from '../../admin/subscription-record.ts';
import { cancelSubscription, previewCancellation } from '../../subscriptions/cancel-subscription.ts';
import { changePlan, previewPlanChange } from '../../subscriptions/change-plan.ts';
import { detachPaymentMethod } from '../../subscriptions/detach-payment-method.ts';
import { extendPeriod } from '../../subscriptions/extend-period.ts';
import { getSubscription } from '../../subscriptions/get-subscription.ts';
import { grantSubscription } from '../../subscriptions/grant-subscription.ts';
import { resumeSubscription } from '../../subscriptions/resume-subscription.ts';
import { retryPayment } from '../../subscriptions/retry-payment.ts';
import type { SubscribeContext } from '../../subscriptions/subscribe.ts';
import type { SubscriptionState } from '../../subscriptions/subscription.ts';
import type { Call } from '../call.ts';
import {
  fromRefundChoice,
  fromSubscriptionStatus,
  toAdminSubscriptionMessage,
} from '../messages/admin-subscription.ts';
import { fromTimestamp } from '../messages/instant.ts';
import { toPlanChangeMessage, toPlanChangeResult } from '../messages/plan-change.ts';
import { repeatableAnswer } from '../repeatable-answer.ts';
import type { ServiceImpl } from '../router.ts';

/** Subscriptions of all viewers. */
export function subscriptionAdminService(
  contextOf: (call: Call) => SubscribeContext,
): ServiceImpl<typeof SubscriptionAdminService> {
  const messageOf = async (call: Call, state: SubscriptionState) => {
    const [record] = await withMethods(contextOf(call).em.fork(), [state]);
    return toAdminSubscriptionMessage(record!);
  };
  return {
    async listSubscriptions(call, { pageSize, pageToken, userId, status, planCode }) {
      const { items, nextPageToken } = await listAllSubscriptions(contextOf(call), {
        pageSize,
        pageToken,
        planCode,
        userId: userId.toLowerCase(),
        status: fromSubscriptionStatus(status),
      });
      return { subscriptions: items.map(toAdminSubscriptionMessage), nextPageToken };
    },
    async getSubscription(call, { subscriptionId }) {
      const state = await getSubscription(contextOf(call), { subscriptionId: subscriptionId.toLowerCase() });
      return { subscription: await messageOf(call, state) };
    },
    async grantSubscription(call, { requestId, reason, validateOnly, userId, priceId, days }) {
      requireMayGive(call.actor, days);
      const target = { userId: userId.toLowerCase(), priceId: priceId.toLowerCase() };
      const input = { requestId, reason, validateOnly, days, ...target };
      const ctx = contextOf(call);
      const subscription = await messageOf(call, await grantSubscription(ctx, input));
      return repeatableAnswer(ctx, GrantSubscriptionResponseSchema, input, { subscription });
    },
    async cancelSubscription(call, request) {
      const { requestId, reason, validateOnly, effective, refund: choice } = request;
      const input = {
        subscriptionId: request.subscriptionId.toLowerCase(),
        effective: effective === CancelEffective.NOW ? 'now' : 'at-period-end',
        reason,
        refund: fromRefundChoice(choice),
      } as const;
      const ctx = contextOf(call);
      const { subscription, refund } = validateOnly
        ? await previewCancellation(ctx, input)
        : await cancelSubscription(ctx, { requestId, ...input });
      const answer = { subscription: await messageOf(call, subscription), ...(refund && { refund }) };
      return repeatableAnswer(ctx, CancelSubscriptionResponseSchema, request, answer);
    },
    async resumeSubscription(call, { requestId, reason, validateOnly, subscriptionId }) {
      const input = { requestId, reason, validateOnly, subscriptionId: subscriptionId.toLowerCase() };
      const ctx = contextOf(call);
      const subscription = await messageOf(call, await resumeSubscription(ctx, input));
      return repeatableAnswer(ctx, ResumeSubscriptionResponseSchema, input, { subscription });
    },
    async extendPeriod(call, { requestId, reason, validateOnly, subscriptionId, days }) {
      requireMayGive(call.actor, days);
      const input = { requestId, reason, validateOnly, days, subscriptionId: subscriptionId.toLowerCase() };
      const ctx = contextOf(call);
      const subscription = await messageOf(call, await extendPeriod(ctx, input));
      return repeatableAnswer(ctx, ExtendPeriodResponseSchema, input, { subscription });
    },
    async retryPayment(call, { requestId, reason, validateOnly, subscriptionId }) {
      const input = { requestId, reason, validateOnly, subscriptionId: subscriptionId.toLowerCase() };
      const ctx = contextOf(call);
      const subscription = await messageOf(call, await retryPayment(ctx, input));
      return repeatableAnswer(ctx, RetryPaymentResponseSchema, input, { subscription });
    },
    async changePlan(call, { requestId, reason, validateOnly, subscriptionId, priceId, prorationAt }) {
      const input = {
        subscriptionId: subscriptionId.toLowerCase(),
        priceId: priceId.toLowerCase(),
        prorationAt: prorationAt && fromTimestamp(prorationAt, 'proration_at'),
      };
      const ctx = contextOf(call);
      if (validateOnly) {
        const { subscription, quote } = await previewPlanChange(ctx, input);
        return { subscription: await messageOf(call, subscription), change: toPlanChangeMessage(quote) };
      }
      const result = await changePlan(ctx, { requestId, reason, ...input });
      const answer = { subscription: await messageOf(call, result.subscription), ...toPlanChangeResult(result) };
      return repeatableAnswer(ctx, ChangePlanResponseSchema, { requestId, validateOnly }, answer);
    },
    async detachPaymentMethod(call, { requestId, reason, validateOnly, paymentMethodId }) {
      const input = { requestId, reason, validateOnly, paymentMethodId: paymentMethodId.toLowerCase() };
      return detachPaymentMethod(contextOf(call), input);
    },
  };
}
