/** What happens after a failed renewal, counted from the first failure (design/1-domain.md, "Dunning"). */
export const dunning = {
  graceDays: 7,
  endsAfterDays: 14,
  /** Attempts after the first one. */
  retryAfterDays: [1, 3, 7, 14],
} as const;

const hoursPerDay = 24;

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
 * When to try again after `failedAttempts` failures, or undefined when the ladder is at its end. Both arguments are
 * stored facts, so a redelivered decline cannot advance the ladder. Never in the past: what was missed is tried now.
 */
export function nextRetryAt(
  dunningEndsAt: Temporal.Instant,
  failedAttempts: number,
  now: Temporal.Instant,
): Temporal.Instant | undefined {
  const days = dunning.retryAfterDays[failedAttempts - 1];
  if (days === undefined) return undefined;
  const at = dunningEndsAt.subtract({ hours: (dunning.endsAfterDays - days) * hoursPerDay });
  return Temporal.Instant.compare(at, now) < 0 ? now : at;
}
