import type { Money } from '../lib/money.ts';

/** A payment of ours at a provider: what money was moved with. */
export interface MoneyMoved {
  readonly subscriptionId: string;
  readonly paymentId: string;
  readonly attemptId: string;
  readonly provider: string;
  readonly merchantAccount: string;
  readonly providerPaymentId: string;
  readonly amount: Money;
}

/** Half-open: `[start, end)`. */
export interface FactPeriod {
  readonly start: Temporal.Instant;
  readonly end: Temporal.Instant;
}

/** What the journal keeps, for ever. A charge without a period bought no time: it is surplus, or the price
 * of a better plan for time that was paid already. */
export type JournalFact =
  | (MoneyMoved & { readonly kind: 'CHARGED'; readonly period: FactPeriod | undefined })
  | (MoneyMoved & { readonly kind: 'REFUNDED'; readonly refundId: string; readonly providerRefundId: string })
  /** DISPUTED: the bank has taken it back. REINSTATED: it came back again. */
  | (MoneyMoved & {
      readonly kind: 'DISPUTED' | 'REINSTATED';
      readonly disputeId: string;
      readonly providerDisputeId: string;
    })
  /** FORGIVEN: a span that nobody pays for. EXTENDED: time that was given. */
  | { readonly kind: 'FORGIVEN' | 'EXTENDED'; readonly subscriptionId: string; readonly period: FactPeriod };

/** A fact as a row has it, texts only; null where it does not apply, instants in ms since the epoch. */
export interface FactRow {
  readonly kind: string;
  readonly subscription_id: string;
  readonly payment_id: string | null;
  readonly attempt_id: string | null;
  readonly refund_id: string | null;
  readonly provider: string | null;
  readonly merchant_account: string | null;
  readonly provider_payment_id: string | null;
  readonly provider_refund_id: string | null;
  readonly amount_minor: string | null;
  readonly currency_code: string | null;
  readonly period_start_ms: string | null;
  readonly period_end_ms: string | null;
  readonly occurred_at_ms: string;
}

/** The row of a fact of this business instant. */
export function rowOfFact(fact: JournalFact, at: Temporal.Instant): FactRow {
  const moved = 'amount' in fact ? fact : undefined;
  const period = periodOf(fact);
  const [refundId, providerRefundId] = backOf(fact);
  return {
    kind: fact.kind,
    subscription_id: fact.subscriptionId,
    payment_id: moved?.paymentId ?? null,
    attempt_id: moved?.attemptId ?? null,
    refund_id: refundId,
    provider: moved?.provider ?? null,
    merchant_account: moved?.merchantAccount ?? null,
    provider_payment_id: moved?.providerPaymentId ?? null,
    provider_refund_id: providerRefundId,
    amount_minor: moved?.amount.amountMinor.toString() ?? null,
    currency_code: moved?.amount.currencyCode ?? null,
    period_start_ms: period?.start.epochMilliseconds.toString() ?? null,
    period_end_ms: period?.end.epochMilliseconds.toString() ?? null,
    occurred_at_ms: at.epochMilliseconds.toString(),
  };
}

function periodOf(fact: JournalFact): FactPeriod | undefined {
  const bought = fact.kind === 'CHARGED' || fact.kind === 'FORGIVEN' || fact.kind === 'EXTENDED';
  return bought ? fact.period : undefined;
}

/** Our id and the provider's of what took the money away, or gave it back: a refund, or a dispute. */
function backOf(fact: JournalFact): [ours: string | null, theirs: string | null] {
  if (fact.kind === 'REFUNDED') return [fact.refundId, fact.providerRefundId];
  if (fact.kind === 'DISPUTED' || fact.kind === 'REINSTATED') return [fact.disputeId, fact.providerDisputeId];
  return [null, null];
}
