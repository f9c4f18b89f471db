import type { Check } from './checks.ts';
import { billingTimeZone, type SimulatedSystem } from './simulated-system.ts';

interface PeriodRow {
  subscription_id: string;
  kind: 'TRIAL_STARTED' | 'ACTIVATED' | 'RENEWED' | 'PERIOD_FORGIVEN';
  reason: string;
  starts_at: Date;
  ends_at: Date;
  unit: 'month' | 'year';
}

/**
 * Periods of a subscription tile, what is between two is forgiven, and each begins at its anchor plus k intervals in
 * civil time; the anchor is where a series begins: the first payment, a trial's end, or a recovery that starts anew.
 */
export async function periodsTile(system: SimulatedSystem): Promise<Check> {
  const rows = await system.query<PeriodRow>(
    `select e.subscription_id, e.kind, e.reason, price.interval_unit as unit,
       (after ->> 'current_period_start')::timestamptz as starts_at,
       (after ->> 'current_period_end')::timestamptz as ends_at
     from subscription_event e join subscription s on s.id = e.subscription_id join price on price.id = s.price_id
     where kind in ('TRIAL_STARTED', 'ACTIVATED', 'RENEWED', 'PERIOD_FORGIVEN')`,
  );
  const violations = [...Map.groupBy(rows, (row) => row.subscription_id)].flatMap(([id, events]) =>
    problemsOf(events).map((problem) => `subscription ${id}: ${problem}`),
  );
  return { name: 'periods tile', examined: rows.length, violations };
}

function problemsOf(events: readonly PeriodRow[]): string[] {
  const problems: string[] = [];
  let end: number | undefined;
  let anchor: { at: Temporal.ZonedDateTime; unit: PeriodRow['unit']; count: number } | undefined;
  // By time and not by when it was written down: one settle writes what is forgiven and what is paid at one instant.
  const spans = events.map((event) => ({ event, span: spanOf(event) })).sort((a, b) => a.span[0] - b.span[0]);
  for (const {
    event: { kind, unit },
    span: [start, next],
  } of spans) {
    if (end !== undefined && start !== end) problems.push(`${kind} begins at ${start}, the time before ends at ${end}`);
    end = next;
    if (kind === 'TRIAL_STARTED') continue;
    if (kind === 'PERIOD_FORGIVEN') {
      anchor = undefined;
      continue;
    }
    anchor ??= { at: zoned(start), unit, count: 0 };
    anchor.count += 1;
    const expected = anchor.at.add({ [`${anchor.unit}s`]: anchor.count }).epochMilliseconds;
    if (next !== expected) problems.push(`period ${anchor.count} ends at ${next} instead of ${expected}`);
  }
  return problems;
}

/** A forgiven one stands in the reason: `start/end`. */
function spanOf({ kind, reason, starts_at: start, ends_at: end }: PeriodRow): [number, number] {
  if (kind !== 'PERIOD_FORGIVEN') return [start.getTime(), end.getTime()];
  const [from, to] = reason.split('/').map((text) => Temporal.Instant.from(text).epochMilliseconds);
  return [from!, to!];
}

function zoned(epochMilliseconds: number): Temporal.ZonedDateTime {
  return Temporal.Instant.fromEpochMilliseconds(epochMilliseconds).toZonedDateTimeISO(billingTimeZone);
}
