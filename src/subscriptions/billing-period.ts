import type { IntervalUnit } from '../catalog/plan.ts';

/** What periods are computed from. The anchor is never normalised and never moved by a renewal. */
export interface BillingSchedule {
  readonly anchorAt: Temporal.Instant;
  /** The cycle that starts at the anchor: 0, or the one that was paid when lost time had to be skipped. */
  readonly anchorCycle: number;
  readonly intervalUnit: IntervalUnit;
  readonly intervalCount: number;
  /** IANA id. */
  readonly timeZone: string;
}

/** A paid span, half-open: `[start, end)`. */
export interface BillingPeriod {
  readonly cycle: number;
  readonly start: Temporal.Instant;
  readonly end: Temporal.Instant;
}

const missedPeriodsMax = 10_000;

/**
 * Period `cycle` of the schedule: anchor + (cycle − anchor's cycle) × interval, clamped to the month's end, in civil time
 * of the billing zone. Always from the anchor: adding to the previous end would turn 31 January into the 28th for ever.
 * A civil time in a DST gap moves forward, in an overlap it is the earlier instant (Temporal "compatible").
 */
export function billingPeriod(schedule: BillingSchedule, cycle: number): BillingPeriod {
  return { cycle, start: boundary(schedule, cycle), end: boundary(schedule, cycle + 1) };
}

/**
 * The period to charge next: the one after `lastCycle`, or, when billing was away so long that it has passed whole, the
 * one that contains `now`. The cycles in between are forgiven: they are never charged.
 */
export function periodToCharge(
  schedule: BillingSchedule,
  lastCycle: number,
  now: Temporal.Instant,
): { period: BillingPeriod; forgiven: BillingPeriod[] } {
  const forgiven: BillingPeriod[] = [];
  let period = billingPeriod(schedule, lastCycle + 1);
  while (Temporal.Instant.compare(period.end, now) <= 0) {
    if (forgiven.length >= missedPeriodsMax) throw new Error('more missed periods than can be');
    forgiven.push(period);
    period = billingPeriod(schedule, period.cycle + 1);
  }
  return { period, forgiven };
}

function boundary(schedule: BillingSchedule, cycle: number): Temporal.Instant {
  const { anchorAt, intervalUnit, intervalCount, timeZone } = schedule;
  const intervals = cycle - schedule.anchorCycle;
  const span = { [`${intervalUnit}s`]: intervals * intervalCount };
  const civil = anchorAt.toZonedDateTimeISO(timeZone).toPlainDateTime().add(span, { overflow: 'constrain' });
  return intervals === 0 ? anchorAt : civil.toZonedDateTime(timeZone, { disambiguation: 'compatible' }).toInstant();
}
