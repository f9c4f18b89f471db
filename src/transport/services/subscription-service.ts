import { CancelEffective, type SubscriptionService } from '@cinema-billing/gen/billing/v1/subscription_service_pb.ts';
import { targetUserId } from '../../identity/authorize.ts';
import { cancelSubscription } from '../../subscriptions/cancel-subscription.ts';
import { changePlan, previewPlanChange } from '../../subscriptions/change-plan.ts';
import { getSubscription } from '../../subscriptions/get-subscription.ts';
import { listSubscriptionEvents } from '../../subscriptions/list-subscription-events.ts';
import { listPayments } from '../../payments/list-payments.ts';
import { listSubscriptions } from '../../subscriptions/list-subscriptions.ts';
import { retryPayment } from '../../subscriptions/retry-payment.ts';
import { resumeSubscription } from '../../subscriptions/resume-subscription.ts';
import { previewSubscribe, subscribe, type SubscribeContext } from '../../subscriptions/subscribe.ts';
import type { Call } from '../call.ts';
import { readConsent } from '../messages/consent.ts';
import { toPaymentMessage } from '../messages/payment.ts';
import { fromTimestamp, toTimestamp } from '../messages/instant.ts';
import { toPlanChangeMessage, toPlanChangeResult } from '../messages/plan-change.ts';
import { toSubscriptionEventMessage, toSubscriptionMessage } from '../messages/subscription.ts';
import type { ServiceImpl } from '../router.ts';

/** A viewer's subscriptions. */
export function subscriptionService(
  contextOf: (call: Call) => SubscribeContext,
): ServiceImpl<typeof SubscriptionService> {
  return {
    async subscribe(call, request) {
      const { requestId, priceId, returnUrl, withTrial, email, promoCode } = request;
      const userId = targetUserId(call.actor, request.userId);
      const { subscription, checkout } = await subscribe(contextOf(call), {
        requestId,
        userId,
        priceId: priceId.toLowerCase(),
        returnUrl,
        withTrial,
        email,
        promoCode,
        consent: readConsent(call, request.consent),
      });
      return {
        subscription: toSubscriptionMessage(subscription),
        checkout: { url: checkout.url, expiresAt: toTimestamp(checkout.expiresAt) },
      };
    },
    async previewSubscribe(call, { priceId, userId, promoCode }) {
      const { price, discount } = await previewSubscribe(contextOf(call), {
        userId: targetUserId(call.actor, userId),
        priceId: priceId.toLowerCase(),
        promoCode,
      });
      const money = (amountMinor: bigint) => ({ currencyCode: price.currencyCode, amountMinor });
      if (!discount) return { price, due: price };
      return {
        price,
        adjustment: { amount: money(-discount.discountMinor), promoCode: discount.code },
        due: money(price.amountMinor - discount.discountMinor),
        discountedCycles: discount.cycles,
      };
    },
    async getSubscription(call, { subscriptionId }) {
      const subscription = await getSubscription(contextOf(call), { subscriptionId: subscriptionId.toLowerCase() });
      return { subscription: toSubscriptionMessage(subscription) };
    },
    async listSubscriptions(call, { userId, pageSize, pageToken }) {
      const page = await listSubscriptions(contextOf(call), {
        userId: targetUserId(call.actor, userId),
        pageSize,
        pageToken,
      });
      return { subscriptions: page.items.map(toSubscriptionMessage), nextPageToken: page.nextPageToken };
    },
    async listSubscriptionEvents(call, { subscriptionId, pageSize, pageToken }) {
      const page = await listSubscriptionEvents(contextOf(call), {
        subscriptionId: subscriptionId.toLowerCase(),
        pageSize,
        pageToken,
      });
      return { events: page.items.map(toSubscriptionEventMessage), nextPageToken: page.nextPageToken };
    },
    async cancelSubscription(call, { requestId, subscriptionId, effective, reason }) {
      const { subscription, refund } = await cancelSubscription(contextOf(call), {
        requestId,
        subscriptionId: subscriptionId.toLowerCase(),
        effective: effective === CancelEffective.NOW ? 'now' : 'at-period-end',
        reason,
        refund: 'policy',
      });
      return { subscription: toSubscriptionMessage(subscription), ...(refund && { refund }) };
    },
    async resumeSubscription(call, { requestId, subscriptionId }) {
      const subscription = await resumeSubscription(contextOf(call), {
        requestId,
        subscriptionId: subscriptionId.toLowerCase(),
      });
      return { subscription: toSubscriptionMessage(subscription) };
    },
    async retryPayment(call, { requestId, subscriptionId }) {
      const subscription = await retryPayment(contextOf(call), {
        requestId,
        subscriptionId: subscriptionId.toLowerCase(),
        reason: '',
      });
      return { subscription: toSubscriptionMessage(subscription) };
    },
    async changePlan(call, request) {
      const { requestId, subscriptionId, priceId, prorationAt } = request;
      const result = await changePlan(contextOf(call), {
        requestId,
        subscriptionId: subscriptionId.toLowerCase(),
        priceId: priceId.toLowerCase(),
        prorationAt: prorationAt && fromTimestamp(prorationAt, 'proration_at'),
        reason: '',
      });
      return { subscription: toSubscriptionMessage(result.subscription), ...toPlanChangeResult(result) };
    },
    async previewPlanChange(call, { subscriptionId, priceId }) {
      const { quote } = await previewPlanChange(contextOf(call), {
        subscriptionId: subscriptionId.toLowerCase(),
        priceId: priceId.toLowerCase(),
        prorationAt: undefined,
      });
      return { change: toPlanChangeMessage(quote) };
    },
    async listPayments(call, { userId, pageSize, pageToken }) {
      const page = await listPayments(contextOf(call), {
        userId: targetUserId(call.actor, userId),
        pageSize,
        pageToken,
      });
      return { payments: page.items.map(toPaymentMessage), nextPageToken: page.nextPageToken };
    },
  };
}
