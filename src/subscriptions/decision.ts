import type { EntityManager } from '../db/orm.ts';
import type { Money } from '../lib/money.ts';
import type { AttemptRow, AttemptUpdate } from '../payments/attempt-rows.ts';
import type { CallOutcome } from '../payments/call-provider.ts';
import type { SubscriptionChange } from './lifecycle.ts';
import type { SubscriptionState } from './subscription.ts';

/** What became of an attempt, from a call, a look-up or a notice. */
export interface Settlement {
  readonly attemptId: string;
  readonly outcome: CallOutcome;
  /** For the history when a checkout ended without money. */
  readonly reason?: string;
  /** What is written in the transaction of the effect, if this settlement has one: an operator's entry in the audit log. */
  readonly alsoInTx?: (tx: EntityManager, decision: Decision, now: Temporal.Instant) => Promise<void>;
}

/**
 * `settled`: decided now. `already settled`: it was before, nothing is done. `open`: not decided yet. `surplus`: money
 * nobody waited for; it is kept apart from the subscription and has to go back. `mismatch`: another amount than was
 * owed; nothing is believed, the attempt is parked. `failed`: this one could not be written; it stays as it was.
 */
export type SettleResult = 'settled' | 'already settled' | 'open' | 'surplus' | 'mismatch' | 'failed';

/** The decision about one attempt, before anything is written. */
export interface Decision {
  readonly result: SettleResult;
  readonly attempt?: AttemptUpdate;
  readonly payment?: { id: string; status: 'SUCCEEDED' | 'VOID' };
  readonly changes?: readonly SubscriptionChange[];
  readonly surplus?: { attempt: AttemptRow; providerPaymentId: string; amount: Money };
}

export type OutcomeOf<Kind extends CallOutcome['kind']> = Extract<CallOutcome, { kind: Kind }>;

/** Whether the subscription waits for exactly this payment. */
export function isAwaited(attempt: AttemptRow, subscription: SubscriptionState): boolean {
  return subscription.openPaymentId === attempt.paymentId;
}

/** Whether the payment is for another plan (T21): its failure leaves the subscription as it is. */
export function isChange(attempt: AttemptRow): boolean {
  return attempt.purpose.startsWith('change:');
}

/** Nobody waits for a payment of a subscription that has ended: it ends with its last attempt. */
export function voidAfterEnd(subscription: SubscriptionState, attempt: AttemptRow): Pick<Decision, 'payment'> {
  return subscription.endedAt === null ? {} : { payment: { id: attempt.paymentId, status: 'VOID' } };
}
