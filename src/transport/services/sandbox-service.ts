import { durationMs } from '@bufbuild/protobuf/wkt';
import {
  ChargeOutcome,
  DeliveryState,
  NoticeFault,
  type AdvanceClockRequest,
  type SandboxService,
} from '@cinema-billing/gen/billing/sandbox/v1/sandbox_service_pb.ts';
import { advanceClock, getClock, type SandboxContext } from '../../sandbox/advance-clock.ts';
import { listDeliveries, type Delivery } from '../../sandbox/list-deliveries.ts';
import { scriptOutcome, type Script, type ScriptedOutcome } from '../../sandbox/script-outcome.ts';
import { BillingError } from '../../lib/billing-error.ts';
import type { Call } from '../call.ts';
import { fromTimestamp, presentTimestamps, toTimestamp } from '../messages/instant.ts';
import type { ServiceImpl } from '../router.ts';

/** The answer has to leave before the caller stops waiting for it. */
const answerReserveMs = 1_500;
/** Periods, leases and retries that are counted from there still are instants of the contract. */
const clockEndMs = Date.UTC(2200, 0);

const outcomes: Record<ChargeOutcome, ScriptedOutcome> = {
  [ChargeOutcome.UNSPECIFIED]: 'by_card',
  [ChargeOutcome.PAID]: 'ok',
  [ChargeOutcome.SOFT_DECLINE]: 'soft_decline',
  [ChargeOutcome.HARD_DECLINE]: 'hard_decline',
  [ChargeOutcome.ACTION_REQUIRED]: 'action_required',
  [ChargeOutcome.PAID_UNANSWERED]: 'charged_unanswered',
  [ChargeOutcome.NOTHING_UNANSWERED]: 'nothing_unanswered',
  [ChargeOutcome.STORED_ERROR]: 'stored_500',
};
const noticeFaults: Record<NoticeFault, Script['webhooks']> = {
  [NoticeFault.UNSPECIFIED]: null,
  [NoticeFault.DUPLICATED]: 'duplicated',
  [NoticeFault.LATE]: 'late',
  [NoticeFault.LOST]: 'lost',
};

/** Time travel, and what goes wrong on purpose. */
export function sandboxService(contextOf: (call: Call) => SandboxContext): ServiceImpl<typeof SandboxService> {
  return {
    async getClock(call) {
      return { now: toTimestamp(await getClock(contextOf(call))) };
    },
    async advanceClock(call, { target }) {
      const { reachedAt, done, unresolved } = await advanceClock(contextOf(call), {
        untilMs: call.deadlineMs - answerReserveMs,
        to: (now) => readTarget(target, now),
      });
      return { reachedAt: toTimestamp(reachedAt), done, unresolved };
    },
    async scriptOutcome(call, { userId, charges, notices }) {
      const steps = charges.map(({ outcome, delayMs }) => ({ outcome: outcomes[outcome]!, delayMs }));
      await scriptOutcome(contextOf(call), {
        userId,
        script: { charges: steps, webhooks: noticeFaults[notices] ?? null },
      });
      return {};
    },
    async listDeliveries(call, { pageSize, pageToken, userId }) {
      const { items, nextPageToken } = await listDeliveries(contextOf(call), { pageSize, pageToken, userId });
      return { deliveries: items.map(toDeliveryMessage), nextPageToken };
    },
  };
}

function toDeliveryMessage(delivery: Delivery) {
  const { providerEventId, type, providerPaymentId, userId, state, tries, lastHttpStatus } = delivery;
  const { createdAt, lastTriedAt, nextTryAt } = delivery;
  return {
    providerEventId,
    type,
    providerPaymentId,
    userId: userId ?? '',
    state: DeliveryState[state],
    tries,
    lastHttpStatus: lastHttpStatus ?? 0,
    ...presentTimestamps({ createdAt, lastTriedAt, nextTryAt }),
  };
}

function readTarget(target: AdvanceClockRequest['target'], now: Temporal.Instant): Temporal.Instant {
  if (target.case === undefined) throw invalidTarget('target', 'set to or by');
  const targetMs =
    target.case === 'to'
      ? fromTimestamp(target.value, 'to').epochMilliseconds
      : now.epochMilliseconds + Math.round(durationMs(target.value));
  if (targetMs > clockEndMs) throw invalidTarget(target.case, 'the clock ends with the year 2199');
  return Temporal.Instant.fromEpochMilliseconds(Math.max(0, targetMs));
}

function invalidTarget(field: string, description: string): BillingError {
  return new BillingError('invalid', 'INVALID_FIELDS', 'the target cannot be used', {
    fieldViolations: [{ field, description }],
  });
}
