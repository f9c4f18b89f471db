import type { IntervalUnit } from '../catalog/plan.ts';
import type { Money } from '../lib/money.ts';
import { billingPeriod, type BillingPeriod } from './billing-period.ts';
import { scheduleOf } from './lifecycle.ts';
import { unusedPart } from './proration.ts';
import type { SubscriptionState } from './subscription.ts';

/** The price that a subscription is to have, with what its plan gives. */
export interface TargetPrice {
  readonly priceId: string;
  readonly planCode: string;
  /** For the payment system's receipt. */
  readonly planName: string;
  readonly features: readonly string[];
  readonly amount: Money;
  readonly intervalUnit: IntervalUnit;
  readonly intervalCount: number;
}

/** The time that the viewer has paid for last: what it was worth, and from when on. It ends with the current period. */
export interface PaidSpan {
  readonly start: Temporal.Instant;
  readonly valueMinor: bigint;
}

/** What a change of plan does and costs, in the subscription's currency. */
export interface PlanChangeQuote {
  readonly timing: 'now' | 'at-period-end';
  readonly effectiveAt: Temporal.Instant;
  readonly prorationAt: Temporal.Instant;
  readonly credit: Money;
  readonly charge: Money;
  /** The charge less the credit; nothing where that is less than the provider charges. */
  readonly due: Money;
  /** That the viewer is in after the change. */
  readonly period: BillingPeriod;
  readonly nextCharge: Money;
}

/** So that 12 months are a year; exact, because only their order matters. */
const nominalHours: Record<IntervalUnit, number> = { day: 24, week: 168, month: 730, year: 8_760 };

/** How long an interval is, for comparing two of them: in hours of a year of 365 days. */
function nominalLength({ intervalUnit, intervalCount }: Pick<TargetPrice, 'intervalUnit' | 'intervalCount'>): number {
  return nominalHours[intervalUnit] * intervalCount;
}

/** Whether periods stay where they are when the one price follows the other. */
export function isSameInterval(
  one: Pick<TargetPrice, 'intervalUnit' | 'intervalCount'>,
  other: Pick<TargetPrice, 'intervalUnit' | 'intervalCount'>,
): boolean {
  return nominalLength(one) === nominalLength(other);
}

/**
 * T21, T22, D8: the one computation behind preview and change. What costs more, for no shorter an interval, is an upgrade
 * and applies now: for the rest of the period, or, with a longer interval, for a new period that begins at `at` (only
 * where it ends later than the present one). Everything else applies at the end of the period. In a trial there is
 * nothing to pay yet, so the change is free and at once. Less than the provider charges is waived.
 */
export function quotePlanChange(
  state: SubscriptionState,
  target: TargetPrice,
  paid: PaidSpan | undefined,
  at: Temporal.Instant,
  minimumMinor: bigint,
): PlanChangeQuote {
  const current = { cycle: state.cycle, start: state.currentPeriodStart!, end: state.currentPeriodEnd! };
  const free = {
    ...amounts(target, 0n, 0n, minimumMinor),
    prorationAt: at,
    period: current,
    nextCharge: target.amount,
  };
  if (state.status === 'TRIALING') return { ...free, timing: 'now', effectiveAt: at };
  const period = isSameInterval(state, target) ? current : periodFrom(state, target, at);
  const isUpgrade =
    target.amount.amountMinor > state.amount.amountMinor &&
    nominalLength(target) >= nominalLength(state) &&
    Temporal.Instant.compare(period.end, current.end) >= 0;
  if (!isUpgrade) return { ...free, timing: 'at-period-end', effectiveAt: current.end };
  const { amountMinor } = target.amount;
  const charge = period === current ? unusedPart(amountMinor, current, at) : amountMinor;
  const credit = paid ? unusedPart(paid.valueMinor, { start: paid.start, end: current.end }, at) : 0n;
  return { ...free, ...amounts(target, credit, charge, minimumMinor), period, timing: 'now', effectiveAt: at };
}

/** The first period of another interval: the instant of the change is the new anchor. */
function periodFrom(state: SubscriptionState, target: TargetPrice, at: Temporal.Instant): BillingPeriod {
  const { intervalUnit, intervalCount } = target;
  const cycle = state.cycle + 1;
  return billingPeriod({ ...scheduleOf(state), intervalUnit, intervalCount, anchorAt: at, anchorCycle: cycle }, cycle);
}

function amounts(
  { amount }: TargetPrice,
  credit: bigint,
  charge: bigint,
  minimumMinor: bigint,
): Pick<PlanChangeQuote, 'credit' | 'charge' | 'due'> {
  const money = (amountMinor: bigint): Money => ({ ...amount, amountMinor });
  // Never less than nothing: an upgrade gives no money back.
  const due = charge - credit >= minimumMinor ? charge - credit : 0n;
  return { credit: money(credit), charge: money(charge), due: money(due) };
}
