import type { EntitlementService } from '@cinema-billing/gen/billing/v1/entitlement_service_pb.ts';
import { getEntitlements, listEntitlements } from '../../entitlements/read-entitlements.ts';
import type { CallContext } from '../../identity/call-context.ts';
import type { Call } from '../call.ts';
import { toEntitlementMessage } from '../messages/entitlement.ts';
import { fromTimestamp, toTimestamp } from '../messages/instant.ts';
import type { ServiceImpl } from '../router.ts';

/** What viewers may use, for Auth. */
export function entitlementService(contextOf: (call: Call) => CallContext): ServiceImpl<typeof EntitlementService> {
  return {
    async getEntitlement(call, { userId }) {
      const found = await getEntitlements(contextOf(call), { userIds: [userId.toLowerCase()] });
      return { entitlement: toEntitlementMessage(found.entitlements[0]!), asOf: toTimestamp(found.asOf) };
    },
    async batchGetEntitlements(call, { userIds }) {
      const found = await getEntitlements(contextOf(call), { userIds: userIds.map((userId) => userId.toLowerCase()) });
      return { entitlements: found.entitlements.map(toEntitlementMessage), asOf: toTimestamp(found.asOf) };
    },
    async listEntitlements(call, { pageSize, pageToken, updatedSince }) {
      const page = await listEntitlements(contextOf(call), {
        pageSize,
        pageToken,
        updatedSince: updatedSince && fromTimestamp(updatedSince, 'updated_since'),
      });
      return {
        entitlements: page.entitlements.map(toEntitlementMessage),
        nextPageToken: page.nextPageToken,
        asOf: toTimestamp(page.asOf),
      };
    },
  };
}
