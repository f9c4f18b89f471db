import type { PaymentMethodService } from '@cinema-billing/gen/billing/v1/payment_method_service_pb.ts';
import { targetUserId } from '../../identity/authorize.ts';
import type { PaymentsContext } from '../../payments/providers.ts';
import { detachPaymentMethod } from '../../subscriptions/detach-payment-method.ts';
import { listPaymentMethods } from '../../subscriptions/list-payment-methods.ts';
import { startMethodSetup } from '../../subscriptions/start-method-setup.ts';
import { setDefaultPaymentMethod } from '../../subscriptions/set-default-payment-method.ts';
import type { SubscriptionsContext } from '../../subscriptions/subscription-rows.ts';
import type { Call } from '../call.ts';
import { toTimestamp } from '../messages/instant.ts';
import { readConsent } from '../messages/consent.ts';
import { toPaymentMethodMessage } from '../messages/payment.ts';
import { toSubscriptionMessage } from '../messages/subscription.ts';
import type { ServiceImpl } from '../router.ts';

/** How a viewer pays. */
export function paymentMethodService(
  contextOf: (call: Call) => SubscriptionsContext & PaymentsContext,
): ServiceImpl<typeof PaymentMethodService> {
  return {
    async listPaymentMethods(call, { userId }) {
      const methods = await listPaymentMethods(contextOf(call), { userId: targetUserId(call.actor, userId) });
      return { paymentMethods: methods.map(({ method, inUse }) => toPaymentMethodMessage(method, inUse)) };
    },
    async startPaymentMethodSetup(call, { requestId, subscriptionId, returnUrl, consent }) {
      const { url, expiresAt } = await startMethodSetup(contextOf(call), {
        requestId,
        subscriptionId: subscriptionId.toLowerCase(),
        returnUrl,
        consent: readConsent(call, consent),
      });
      return { checkout: { url, expiresAt: toTimestamp(expiresAt) } };
    },
    async setDefaultPaymentMethod(call, { requestId, paymentMethodId }) {
      const changed = await setDefaultPaymentMethod(contextOf(call), {
        requestId,
        paymentMethodId: paymentMethodId.toLowerCase(),
      });
      return { subscriptions: changed.map(toSubscriptionMessage) };
    },
    async detachPaymentMethod(call, { requestId, paymentMethodId, reason }) {
      return detachPaymentMethod(contextOf(call), {
        requestId,
        paymentMethodId: paymentMethodId.toLowerCase(),
        reason,
      });
    },
  };
}
