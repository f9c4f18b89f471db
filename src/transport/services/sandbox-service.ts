import { durationMs } from '@bufbuild/protobuf/wkt';
import type { AdvanceClockRequest, SandboxService } from '@cinema-billing/gen/billing/sandbox/v1/sandbox_service_pb.ts';
import { advanceClock, getClock, type SandboxContext } from '../../sandbox/advance-clock.ts';
import { BillingError } from '../../lib/billing-error.ts';
import type { Call } from '../call.ts';
import { fromTimestamp, toTimestamp } from '../messages/instant.ts';
import type { ServiceImpl } from '../router.ts';

/** The answer has to leave before the caller stops waiting for it. */
const answerReserveMs = 1_500;
/** Periods, leases and retries that are counted from there still are instants of the contract. */
const clockEndMs = Date.UTC(2200, 0);

/** Time travel. */
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
