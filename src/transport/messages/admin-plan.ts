import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  RefundPolicy as ProtoPolicy,
  type AdminPlanSchema,
  type NewPrice as NewPriceMessage,
} from '@cinema-billing/gen/billing/admin/v1/plan_admin_service_pb.ts';
import { IntervalUnit as ProtoUnit } from '@cinema-billing/gen/billing/v1/plan_pb.ts';
import { etagOf } from '../../catalog/change-plan.ts';
import type { NewPrice } from '../../catalog/new-price.ts';
import type { PlanView } from '../../catalog/plan-view.ts';
import type { IntervalUnit, RefundPolicy } from '../../catalog/plan.ts';
import { BillingError } from '../../lib/billing-error.ts';
import { presentTimestamps, toTimestamp } from './instant.ts';
import { toPriceMessage } from './plan.ts';

const policies = { none: ProtoPolicy.NONE, prorated: ProtoPolicy.PRORATED } as const;

/** A plan as operators see it. */
export function toAdminPlanMessage(view: PlanView): MessageInitShape<typeof AdminPlanSchema> {
  const { id, code, name, description, features, productLine, trialDays, prices } = view;
  return {
    plan: {
      id,
      code,
      name,
      description,
      features: [...features],
      productLine,
      trialDays,
      prices: prices.map(toPriceMessage),
    },
    etag: etagOf(view),
    ...presentTimestamps({ archivedAt: view.archivedAt }),
    createdAt: toTimestamp(view.createdAt),
    refundPolicy: policies[view.refundPolicy],
    openSubscriptionCount: BigInt(view.openSubscriptions),
    subscriptionCount: BigInt(view.subscriptions),
    priceUses: prices.map((price) => ({
      priceId: price.id,
      openSubscriptionCount: BigInt(price.openSubscriptions),
    })),
    featuresPendingCount: BigInt(view.featuresPending),
  };
}

/** The plan's refund policy; nothing goes back when it is not said. */
export function fromRefundPolicy(policy: ProtoPolicy): RefundPolicy {
  return policy === ProtoPolicy.PRORATED ? 'prorated' : 'none';
}

const units: Partial<Record<ProtoUnit, IntervalUnit>> = {
  [ProtoUnit.DAY]: 'day',
  [ProtoUnit.WEEK]: 'week',
  [ProtoUnit.MONTH]: 'month',
  [ProtoUnit.YEAR]: 'year',
};

/** A price that does not exist yet. Throws INVALID_FIELDS when its unit is not said. */
export function fromNewPrice(price: NewPriceMessage, field: string): NewPrice {
  const intervalUnit = units[price.intervalUnit];
  if (!intervalUnit) {
    throw new BillingError('invalid', 'INVALID_FIELDS', 'fields of the request are not valid', {
      fieldViolations: [{ field: `${field}.interval_unit`, description: 'say a unit' }],
    });
  }
  const { currencyCode, amountMinor } = price.amount!;
  return { amount: { currencyCode, amountMinor }, intervalUnit, intervalCount: price.intervalCount };
}
