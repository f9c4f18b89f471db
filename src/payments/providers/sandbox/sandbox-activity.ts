import { OutcomeUnknown } from '../../provider.ts';

/** What the payment system has left to do at its present time, and when it has something to do next. */
export interface SandboxActivity {
  readonly nextAt: Temporal.Instant | undefined;
  readonly undeliveredWebhooks: number;
  readonly callsInFlight: number;
}

/** Reads the answer of `GET /v1/test_clock`. Throws OutcomeUnknown. */
export function readActivity(answer: unknown): SandboxActivity {
  try {
    const clock = answer as Record<string, unknown>;
    return {
      nextAt: clock['next_at'] === null ? undefined : Temporal.Instant.from(clock['next_at'] as string),
      undeliveredWebhooks: count(clock['undelivered_webhooks']),
      callsInFlight: count(clock['calls_in_flight']),
    };
  } catch (cause) {
    throw new OutcomeUnknown('the payment system answered with something that is not its clock', { cause });
  }
}

function count(value: unknown): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw new Error('not a count');
}
