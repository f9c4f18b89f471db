import { ApiError } from './api-error.ts';
import type { Parameters } from './parameters.ts';
import { doWhatIsDue, nextDueMs, type System } from './system.ts';
import { isoOf } from './test-clock.ts';

export interface ClockView {
  readonly now: string;
  readonly running: boolean;
  /** When it has something to do next: a checkout expires, a webhook is sent again. */
  readonly next_at: string | null;
  readonly undelivered_webhooks: number;
  readonly calls_in_flight: number;
  /** When a cardholder last disputed a payment: what a merchant who lost the notice does not know. */
  readonly latest_dispute_at: string | null;
}

/** What `GET /v1/test_clock` shows. */
export function showClock(system: System, callsInFlight: number): ClockView {
  const { clock, state } = system.books;
  const nextMs = nextDueMs(system);
  return {
    now: clock.now(),
    running: clock.isRunning(),
    next_at: nextMs === undefined ? null : isoOf(nextMs),
    undelivered_webhooks: system.webhooks.undeliveredCount(),
    calls_in_flight: callsInFlight,
    latest_dispute_at: [...state.disputes.values()].at(-1)?.created_at ?? null,
  };
}

/**
 * Sets the clock and does at once all that became due, or with `time_only` nothing until the clock is set again. An
 * earlier `now` leaves the time as it is.
 */
export async function setClock(system: System, parameters: Parameters): Promise<void> {
  const { now, running, time_only: timeOnly = false } = parameters;
  const { books } = system;
  const nowMs = typeof now === 'string' ? Date.parse(now) : Number.NaN;
  if (Number.isNaN(nowMs)) throw new ApiError(400, 'parameter_invalid', 'now is not an instant');
  if (typeof running !== 'boolean') throw new ApiError(400, 'parameter_invalid', 'running is not true or false');
  if (typeof timeOnly !== 'boolean') throw new ApiError(400, 'parameter_invalid', 'time_only is not true or false');
  // Held before the new time is there: the tick must not fall between the two.
  if (timeOnly) system.due.held = true;
  const setting = books.clock.planSetting(nowMs, running);
  if (setting) await books.record({ type: 'clock_set', at: setting.now, clock: setting });
  system.due.held = timeOnly;
  await doWhatIsDue(system);
}
