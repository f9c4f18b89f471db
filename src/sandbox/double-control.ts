import type { SandboxControl } from './advance-clock.ts';

const answerMaxMs = 2_000;

/**
 * The control of a payment system's double, which lives in real time: nothing waits there for an instant of the
 * business clock. `activityUrl` is where it tells what it has left to do.
 */
export function createDoubleControl(activityUrl: string): SandboxControl {
  return {
    setClock: () => Promise.resolve(),
    async activity() {
      const response = await fetch(activityUrl, { signal: AbortSignal.timeout(answerMaxMs) });
      const answer = (await response.json()) as { undelivered_notices: number; calls_in_flight: number };
      return {
        nextAt: undefined,
        undeliveredWebhooks: answer.undelivered_notices,
        callsInFlight: answer.calls_in_flight,
        latestDisputeAt: undefined,
      };
    },
  };
}
