import type { FactPeriod, JournalFact } from '../ledger/journal-fact.ts';
import type { AttemptRow } from '../payments/attempt-rows.ts';
import type { Decision } from './decision.ts';
import type { SubscriptionChange } from './lifecycle.ts';

/** The charges of a settle, each with the period that it bought. */
export function chargedFacts(decisions: readonly Decision[], attempts: ReadonlyMap<string, AttemptRow>): JournalFact[] {
  return decisions.flatMap<JournalFact>(({ attempt: update, payment, changes = [] }) => {
    // Surplus is written down by whoever claims its refund (claimSurplusRefunds), once.
    if (payment?.status !== 'SUCCEEDED' || !update) return [];
    const attempt = attempts.get(update.id)!;
    // A method that was saved without money.
    if (attempt.amount.amountMinor === 0n) return [];
    return [
      {
        kind: 'CHARGED',
        subscriptionId: attempt.subscriptionId,
        paymentId: attempt.paymentId,
        attemptId: attempt.id,
        provider: attempt.provider,
        merchantAccount: attempt.merchantAccount,
        providerPaymentId: update.providerPaymentId!,
        amount: attempt.amount,
        period: boughtBy(attempt, changes.at(-1)!),
      },
    ];
  });
}

/** The time that a charge bought. An upgrade buys only what lies behind the period that was paid already, if any. */
function boughtBy(attempt: AttemptRow, { before, after }: SubscriptionChange): FactPeriod | undefined {
  const [start, end] = [after.currentPeriodStart!, after.currentPeriodEnd!];
  if (!attempt.purpose.startsWith('change:')) return { start, end };
  const paidUntil = before.currentPeriodEnd!;
  return Temporal.Instant.compare(paidUntil, end) < 0 ? { start: paidUntil, end } : undefined;
}

/** The spans that nobody pays for: forgiven, or given by an operator. Every change that makes one passes here. */
export function spanFacts(changes: readonly SubscriptionChange[]): JournalFact[] {
  return changes.flatMap<JournalFact>(({ before, after, kind, reason }) => {
    const subscriptionId = after.id;
    if (kind === 'PERIOD_FORGIVEN') {
      const [start, end] = reason.split('/').map((text) => Temporal.Instant.from(text));
      return [{ kind: 'FORGIVEN', subscriptionId, period: { start: start!, end: end! } }];
    }
    if (kind !== 'PERIOD_EXTENDED' && kind !== 'GIVEN') return [];
    const start = kind === 'GIVEN' ? after.currentPeriodStart : before.currentPeriodEnd;
    return [{ kind: 'EXTENDED', subscriptionId, period: { start: start!, end: after.currentPeriodEnd! } }];
  });
}
