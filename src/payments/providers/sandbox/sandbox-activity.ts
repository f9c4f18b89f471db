import { OutcomeUnknown } from '../../provider.ts';

/** What the payment system has left to do at its present time, and when it has something to do next. */
export interface SandboxActivity {
  readonly nextAt: Temporal.Instant | undefined;
  readonly undeliveredWebhooks: number;
  readonly callsInFlight: number;
  /** When a payment was last disputed there; undefined for never. */
  readonly latestDisputeAt: Temporal.Instant | undefined;
}

/** Reads the answer of `GET /v1/test_clock`. Throws OutcomeUnknown. */
export function readActivity(answer: unknown): SandboxActivity {
  try {
    const clock = answer as Record<string, unknown>;
    return {
      nextAt: instant(clock['next_at']),
      undeliveredWebhooks: count(clock['undelivered_webhooks']),
      callsInFlight: count(clock['calls_in_flight']),
      latestDisputeAt: instant(clock['latest_dispute_at']),
    };
  } catch (cause) {
    throw new OutcomeUnknown('the payment system answered with something that is not its clock', { cause });
  }
}

function instant(value: unknown): Temporal.Instant | undefined {
  return value === null ? undefined : Temporal.Instant.from(value as string);
}

function count(value: unknown): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw new Error('not a count');
}
