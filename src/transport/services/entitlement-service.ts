import DataLoader from 'dataloader';
import type { EntitlementService } from '@cinema-billing/gen/billing/v1/entitlement_service_pb.ts';
import { getEntitlements, listEntitlements, type EntitlementView } from '../../entitlements/read-entitlements.ts';
import type { CallContext } from '../../identity/call-context.ts';
import type { Call } from '../call.ts';
import { toEntitlementMessage } from '../messages/entitlement.ts';
import { fromTimestamp, toTimestamp } from '../messages/instant.ts';
import type { ServiceImpl } from '../router.ts';

/** Questions in one statement. */
const gatheredMax = 100;

interface Asked {
  readonly call: Call;
  readonly userId: string;
}

interface Found {
  readonly entitlement: EntitlementView;
  readonly asOf: Temporal.Instant;
}

/** What viewers may use, for Auth. */
export function entitlementService(contextOf: (call: Call) => CallContext): ServiceImpl<typeof EntitlementService> {
  // The questions of one turn of the event loop go to the database as one: Auth asks with every token that it issues,
  // and most of a call's time is the round trip. Nothing is kept: an answer is never older than its question.
  const gathered = new DataLoader<Asked, Found>(
    async (asked) => {
      const userIds = asked.map(({ userId }) => userId);
      const { entitlements, asOf } = await getEntitlements(contextOf(asked[0]!.call), { userIds });
      return entitlements.map((entitlement) => ({ entitlement, asOf }));
    },
    { cache: false, maxBatchSize: gatheredMax, batchScheduleFn: (send) => setImmediate(send) },
  );
  return {
    async getEntitlement(call, { userId }) {
      const { entitlement, asOf } = await gathered.load({ call, userId: userId.toLowerCase() });
      return { entitlement: toEntitlementMessage(entitlement), asOf: toTimestamp(asOf) };
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
