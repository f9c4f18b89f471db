import { PlanSchema, PriceSchema } from './catalog/plan.ts';
import { EntitlementSchema } from './entitlements/entitlement.ts';
import { CustomerSchema, PaymentMethodSchema } from './payments/customer.ts';
import { DisputeSchema } from './payments/dispute.ts';
import { PaymentAttemptSchema, PaymentSchema } from './payments/payment.ts';
import { RefundSchema } from './payments/refund.ts';
import { WebhookEventSchema } from './payments/webhook-event.ts';
import { SubscriptionEventSchema } from './subscriptions/subscription-event.ts';
import { SubscriptionSchema } from './subscriptions/subscription.ts';

/** Everything that the ORM maps. */
export const entities = [
  PlanSchema,
  PriceSchema,
  CustomerSchema,
  PaymentMethodSchema,
  SubscriptionSchema,
  SubscriptionEventSchema,
  PaymentSchema,
  PaymentAttemptSchema,
  RefundSchema,
  DisputeSchema,
  WebhookEventSchema,
  EntitlementSchema,
];
