import { sql } from 'kysely';
import type { EntityManager } from '../db/orm.ts';
import { BillingError } from '../lib/billing-error.ts';
import type { Money } from '../lib/money.ts';
import { lockRefundable } from '../payments/claim-refunds.ts';
import { findPaidSpan, type BoughtSpan } from './paid-span.ts';
import { unusedPart } from './proration.ts';
import type { SubscriptionState } from './subscription.ts';

/** What goes back with a cancellation: by the plan's policy, which is all that a viewer gets, or as an operator says. */
export type RefundChoice = 'policy' | 'none' | 'prorated' | 'full';

export interface CancellationRefund {
  readonly amount: Money;
  /** Of which charges: after an upgrade there are several, and the last one gives back first. */
  readonly parts: readonly {
    readonly attemptId: string;
    readonly amount: Money;
    readonly paidAt: Temporal.Instant;
  }[];
}

/**
 * What a cancellation now gives back of what the current period was paid with (T20, D8): of the money that was paid and
 * has not gone back yet, the part of the unused time, or all. Undefined for nothing. The attempts are locked. Throws DISPUTE_OPEN
 * where an operator asks for money that is disputed.
 */
export async function refundOfCancellation(
  tx: EntityManager,
  state: SubscriptionState,
  choice: RefundChoice,
  now: Temporal.Instant,
): Promise<CancellationRefund | undefined> {
  if (state.status !== 'ACTIVE' || choice === 'none') return undefined;
  const effective = choice === 'policy' ? await policyOf(tx, state) : choice;
  if (effective === 'none') return undefined;
  const unlocked = await findPaidSpan(tx, state);
  if (!unlocked) return undefined;
  const charges = [];
  for (const { id } of unlocked.payments) {
    const refundable = await lockRefundable(tx, id).catch((error: unknown) => nothingLeft(error, choice));
    if (refundable) charges.push(refundable);
  }
  // Read again under the locks: a refund may have been claimed in between.
  const span = (await findPaidSpan(tx, state))!;
  const wanted = effective === 'full' ? paidForPeriod(state, span) : unusedValue(state, span, now);
  const parts: CancellationRefund['parts'][number][] = [];
  let rest = wanted;
  for (const { attemptId, left, paidAt } of charges) {
    const amountMinor = left.amountMinor < rest ? left.amountMinor : rest;
    if (amountMinor > 0n) parts.push({ attemptId, amount: { ...left, amountMinor }, paidAt });
    rest -= amountMinor;
  }
  return parts.length > 0 ? { amount: { ...state.amount, amountMinor: wanted - rest }, parts } : undefined;
}

function unusedValue(state: SubscriptionState, { start, valueMinor }: BoughtSpan, now: Temporal.Instant): bigint {
  return unusedPart(valueMinor, { start, end: state.currentPeriodEnd! }, now);
}

/** All that is left of the current period's payments; of an earlier period's only what was taken over from it. */
function paidForPeriod(state: SubscriptionState, { payments }: BoughtSpan): bigint {
  let total = 0n;
  for (const { leftMinor, creditMinor, changedAt } of payments) {
    total += leftMinor;
    if (changedAt?.equals(state.currentPeriodStart!)) return total + creditMinor;
  }
  return total;
}

async function policyOf(tx: EntityManager, { id }: SubscriptionState): Promise<'none' | 'prorated'> {
  const { rows } = await sql<{ refund_policy: 'none' | 'prorated' }>`
    select plan.refund_policy from subscription s join plan on plan.id = s.plan_id where s.id = ${id}
  `.execute(tx.getKysely());
  return rows[0]!.refund_policy;
}

/** A viewer may leave while a payment is disputed, and gets nothing back; an operator is told. */
function nothingLeft(error: unknown, choice: RefundChoice): undefined {
  const reason = error instanceof BillingError ? error.reason : undefined;
  if (reason === 'NOTHING_TO_REFUND' || (reason === 'DISPUTE_OPEN' && choice === 'policy')) return undefined;
  throw error;
}
