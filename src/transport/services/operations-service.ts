import type { OperationsService } from '@cinema-billing/gen/billing/admin/v1/operations_service_pb.ts';
import { getMetrics } from '../../admin/get-metrics.ts';
import { listAuditEntries } from '../../audit/list-audit-entries.ts';
import type { SubscriptionsContext } from '../../subscriptions/subscription-rows.ts';
import type { Call } from '../call.ts';
import { presentTimestamps, toTimestamp } from '../messages/instant.ts';
import type { ServiceImpl } from '../router.ts';

/** How the business runs, and who did what. */
export function operationsService(
  contextOf: (call: Call) => SubscriptionsContext,
): ServiceImpl<typeof OperationsService> {
  return {
    async getMetrics(call, { fromDay, toDay }) {
      const metrics = await getMetrics(contextOf(call), { fromDay, toDay });
      const { counts, attention } = metrics;
      return {
        fromDay: metrics.fromDay,
        toDay: metrics.toDay,
        timeZone: metrics.timeZone,
        asOf: toTimestamp(metrics.asOf),
        counts: {
          active: BigInt(counts.active),
          trialing: BigInt(counts.trialing),
          pastDue: BigInt(counts.pastDue),
          incomplete: BigInt(counts.incomplete),
          ending: BigInt(counts.ending),
          complimentary: BigInt(counts.complimentary),
        },
        monthlyRecurringRevenue: [...metrics.monthlyRecurringRevenue],
        activeAtStartCount: BigInt(metrics.activeAtStart),
        churnedVoluntaryCount: BigInt(metrics.churnedVoluntary),
        churnedInvoluntaryCount: BigInt(metrics.churnedInvoluntary),
        declinedRenewalCount: BigInt(metrics.declinedRenewals),
        recoveredRenewalCount: BigInt(metrics.recoveredRenewals),
        revenue: metrics.revenue.map(({ day, charged, refunded, payments }) => ({
          day,
          charged,
          refunded,
          paymentCount: BigInt(payments),
        })),
        attention: {
          unknownPayments: BigInt(attention.unknown),
          parkedPayments: BigInt(attention.parked),
          openDisputes: BigInt(attention.disputes),
          orphanEvents: BigInt(attention.orphans),
          quarantinedEvents: BigInt(attention.quarantined),
          failedRefunds: BigInt(attention.failedRefunds),
          unpublishedMessages: BigInt(attention.unpublished),
          ...presentTimestamps({ oldestUnknownAt: attention.oldestUnknownAt }),
        },
      };
    },
    async listAuditEntries(call, { pageSize, pageToken, actorId, targetId, userId, action }) {
      const filter = { actorId, targetId, userId: userId.toLowerCase(), action };
      const { items, nextPageToken } = await listAuditEntries(contextOf(call), { pageSize, pageToken, ...filter });
      return {
        entries: items.map(({ occurredAt, ...entry }) => ({ ...entry, occurredAt: toTimestamp(occurredAt) })),
        nextPageToken,
      };
    },
  };
}
