import { sql } from 'kysely';
import type { EntityManager } from '../db/orm.ts';
import { BillingError } from '../lib/billing-error.ts';
import type { Money } from '../lib/money.ts';
import { lockRefundable } from '../payments/claim-refunds.ts';
import { unusedPart } from './proration.ts';
import type { SubscriptionState } from './subscription.ts';

/** What goes back with a cancellation: by the plan's policy, which is all that a viewer gets, or as an operator says. */
export type RefundChoice = 'policy' | 'none' | 'prorated' | 'full';

export interface CancellationRefund {
  readonly attemptId: string;
  readonly amount: Money;
}

/**
 * What a cancellation now gives back of the current period's payment (T20, D8): of the money that was paid and has not
 * gone back yet, the part of the unused time, or all. Undefined for nothing. The attempt is locked. Throws DISPUTE_OPEN
 * where an operator asks for money that is disputed.
 */
export async function refundOfCancellation(
  tx: EntityManager,
  state: SubscriptionState,
  choice: RefundChoice,
  now: Temporal.Instant,
): Promise<CancellationRefund | undefined> {
  if (state.status !== 'ACTIVE' || choice === 'none') return undefined;
  const { rows } = await sql<{ id: string; refund_policy: 'none' | 'prorated' }>`
    select payment.id, plan.refund_policy from subscription s join plan on plan.id = s.plan_id
      join payment on payment.subscription_id = s.id and payment.status = 'SUCCEEDED' and payment.amount_minor > 0
        and (payment.purpose = 'cycle:' || s.cycle or (s.cycle = 0 and payment.purpose = 'initial'))
    where s.id = ${state.id} limit 1
  `.execute(tx.getKysely());
  const [paid] = rows;
  if (!paid) return undefined;
  const effective = choice === 'policy' ? paid.refund_policy : choice;
  if (effective === 'none') return undefined;
  const refundable = await lockRefundable(tx, paid.id).catch((error: unknown) => nothingLeft(error, choice));
  if (!refundable) return undefined;
  const { attemptId, left } = refundable;
  const period = { start: state.currentPeriodStart!, end: state.currentPeriodEnd! };
  const amountMinor = effective === 'full' ? left.amountMinor : unusedPart(left.amountMinor, period, now);
  return amountMinor > 0n ? { attemptId, amount: { ...left, amountMinor } } : undefined;
}

/** A viewer may leave while a payment is disputed, and gets nothing back; an operator is told. */
function nothingLeft(error: unknown, choice: RefundChoice): undefined {
  const reason = error instanceof BillingError ? error.reason : undefined;
  if (reason === 'NOTHING_TO_REFUND' || (reason === 'DISPUTE_OPEN' && choice === 'policy')) return undefined;
  throw error;
}
