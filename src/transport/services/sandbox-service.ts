import { durationMs } from '@bufbuild/protobuf/wkt';
import type { SandboxService } from '@cinema-billing/gen/billing/sandbox/v1/sandbox_service_pb.ts';
import { advanceClock, getClock, type SandboxContext } from '../../sandbox/advance-clock.ts';
import { BillingError } from '../../lib/billing-error.ts';
import type { Call } from '../call.ts';
import { fromTimestamp, toTimestamp } from '../messages/instant.ts';
import type { ServiceImpl } from '../router.ts';

/** The answer has to leave before the caller stops waiting for it. */
const answerReserveMs = 1_500;

/** Time travel. */
export function sandboxService(contextOf: (call: Call) => SandboxContext): ServiceImpl<typeof SandboxService> {
  return {
    async getClock(call) {
      return { now: toTimestamp(await getClock(contextOf(call))) };
    },
    async advanceClock(call, { target }) {
      const { reachedAt, done, unresolved } = await advanceClock(contextOf(call), {
        untilMs: call.deadlineMs - answerReserveMs,
        to: (now) => {
          if (target.case === 'to') return fromTimestamp(target.value, 'to');
          if (target.case === 'by') return now.add({ milliseconds: durationMs(target.value) });
          throw new BillingError('invalid', 'INVALID_FIELDS', 'the target is missing', {
            fieldViolations: [{ field: 'target', description: 'set to or by' }],
          });
        },
      });
      return { reachedAt: toTimestamp(reachedAt), done, unresolved };
    },
  };
}
