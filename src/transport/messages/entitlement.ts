import type { MessageInitShape } from '@bufbuild/protobuf';
import type { EntitlementSchema } from '@cinema-billing/gen/billing/v1/entitlement_pb.ts';
import type { EntitlementView } from '../../entitlements/read-entitlements.ts';
import { toTimestamp } from './instant.ts';

/** What a viewer may use. */
export function toEntitlementMessage(view: EntitlementView): MessageInitShape<typeof EntitlementSchema> {
  const { userId, version, rightsVersion, features, updatedAt } = view;
  return {
    userId,
    version,
    rightsVersion,
    features: [...features],
    grants: view.grants.map((grant) => ({
      productLine: grant.product_line,
      subscriptionId: grant.subscription_id,
      planCode: grant.plan_code,
      features: [...grant.features],
      accessUntil: toTimestamp(Temporal.Instant.from(grant.access_until)),
      inGrace: grant.in_grace,
    })),
    ...(updatedAt && { updatedAt: toTimestamp(updatedAt) }),
  };
}
