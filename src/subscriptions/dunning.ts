import { createHash } from 'node:crypto';

/** What happens after a failed renewal, counted from the first failure (design/1-domain.md, "Dunning"). */
export const dunning = {
  graceDays: 7,
  endsAfterDays: 14,
  /** Attempts after the first one. */
  retryAfterDays: [1, 3, 7, 14],
  retryJitterMaxHours: 6,
  /** How long an end waits for a charge that is due or open; then it ends, and money that still comes is surplus. */
  endWaitsHours: 24,
} as const;

const hoursPerDay = 24;
const msPerHour = 3_600_000;

export interface DunningDeadlines {
  readonly graceUntil: Temporal.Instant;
  readonly dunningEndsAt: Temporal.Instant;
}

/** The deadlines that the first failure sets and that nothing moves afterwards. */
export function dunningDeadlines(firstFailedAt: Temporal.Instant): DunningDeadlines {
  return {
    graceUntil: firstFailedAt.add({ hours: dunning.graceDays * hoursPerDay }),
    dunningEndsAt: firstFailedAt.add({ hours: dunning.endsAfterDays * hoursPerDay }),
  };
}

/**
 * The next retry after `now`, or undefined when the ladder is at its end. It is computed from stored facts alone, so a
 * redelivered decline cannot advance the ladder; what was missed while billing was away is not made up for, or all of
 * it would fall on the card at once. The jitter keeps a day's failures from coming back in the same minute.
 */
export function nextRetryAt(
  subscriptionId: string,
  dunningEndsAt: Temporal.Instant,
  now: Temporal.Instant,
): Temporal.Instant | undefined {
  const firstFailedAt = dunningEndsAt.subtract({ hours: dunning.endsAfterDays * hoursPerDay });
  for (const [rung, days] of dunning.retryAfterDays.entries()) {
    const jitterMs = days === dunning.endsAfterDays ? 0 : retryJitterMs(subscriptionId, rung);
    const at = firstFailedAt.add({ hours: days * hoursPerDay, milliseconds: jitterMs });
    if (Temporal.Instant.compare(at, now) > 0) return at;
  }
  return undefined;
}

/** Random over subscriptions and the same whenever it is asked for. */
function retryJitterMs(subscriptionId: string, rung: number): number {
  const hash = createHash('sha256').update(`${subscriptionId}:${rung}`).digest();
  return hash.readUInt32BE(0) % (dunning.retryJitterMaxHours * msPerHour);
}
