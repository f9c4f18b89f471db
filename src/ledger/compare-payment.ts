import { formatMoney, type Money } from '../lib/money.ts';
import type { ProviderPayment } from './provider-books.ts';

/** What a difference between the provider and us is; README.md says what each means. */
export type DifferenceClass = 'missing' | 'extra' | 'duplicate' | 'amount' | 'late success' | 'refund outside';

export interface Difference {
  readonly class: DifferenceClass;
  readonly what: string;
}

/** All that we have on one payment of the provider's. */
export interface OurSide {
  readonly attempt: OurAttempt | undefined;
  /** Facts of the attempt and of the provider's payment. */
  readonly facts: readonly { kind: string; providerPaymentId: string; amount: Money }[];
  /** Not in the journal: under way, or given up. */
  readonly openRefunds: readonly { state: 'PENDING' | 'FAILED'; providerPaymentId: string; amountMinor: bigint }[];
}

export interface OurAttempt {
  readonly id: string;
  readonly state: string;
  readonly amount: Money;
  /** Whoever called the provider for it may be settling it at this moment. */
  readonly leased: boolean;
}

/** Compares a payment that the provider took money with. `under way`: it will agree, or not, when that is done. */
export function comparePayment(payment: ProviderPayment, ours: OurSide): Difference[] | 'under way' {
  const charges = ours.facts.filter(
    ({ kind, providerPaymentId }) => kind === 'CHARGED' && providerPaymentId === payment.providerPaymentId,
  );
  const of = `payment ${payment.providerPaymentId}`;
  const took = formatMoney(payment.amount);
  const [charge] = charges;
  if (!charge) return unrecorded(payment, ours);
  const found: Difference[] = [];
  if (charges.length > 1) {
    found.push({ class: 'duplicate', what: `${of}, ${took}: in the journal ${charges.length} times` });
  }
  if (!isSame(charge.amount, payment.amount)) {
    found.push({
      class: 'amount',
      what: `${of}: the provider took ${took}, we wrote down ${formatMoney(charge.amount)}`,
    });
  }
  const refund = compareRefunds(payment, ours);
  if (refund === 'under way') return found.length > 0 ? found : refund;
  return [...found, ...refund];
}

/** The provider took money that the journal does not have. */
function unrecorded(payment: ProviderPayment, { attempt, facts }: OurSide): Difference[] | 'under way' {
  const took = `payment ${payment.providerPaymentId}, ${formatMoney(payment.amount)}`;
  const other = facts.find(({ kind }) => kind === 'CHARGED');
  if (other) {
    return [{ class: 'duplicate', what: `${took}: taken beside ${other.providerPaymentId} for the same attempt` }];
  }
  if (!attempt) return [{ class: 'extra', what: `${took}: no attempt of ours (reference ${payment.reference})` }];
  if (attempt.leased) return 'under way';
  if (attempt.state === 'SUCCEEDED') {
    return [{ class: 'extra', what: `${took}: attempt ${attempt.id} succeeded, the journal has no charge` }];
  }
  if (!isSame(attempt.amount, payment.amount)) {
    return [{ class: 'amount', what: `${took}: attempt ${attempt.id} was for ${formatMoney(attempt.amount)}` }];
  }
  return [{ class: 'late success', what: `${took}: attempt ${attempt.id} is ${attempt.state}` }];
}

function compareRefunds(payment: ProviderPayment, { facts, openRefunds }: OurSide): Difference[] | 'under way' {
  const isIts = (row: { providerPaymentId: string }) => row.providerPaymentId === payment.providerPaymentId;
  const ours = sum(
    facts.filter((fact) => fact.kind === 'REFUNDED' && isIts(fact)).map(({ amount }) => amount.amountMinor),
  );
  const more = payment.refundedMinor - ours;
  if (more === 0n) return [];
  const { currencyCode } = payment.amount;
  const money = (amountMinor: bigint) => formatMoney({ currencyCode, amountMinor });
  const of = `payment ${payment.providerPaymentId}`;
  const says = `the provider gave back ${money(payment.refundedMinor)}, we ${money(ours)}`;
  if (more < 0n) return [{ class: 'missing', what: `${of}: ${says}` }];
  const open = openRefunds.filter(isIts);
  if (sum(open.filter(({ state }) => state === 'PENDING').map((refund) => refund.amountMinor)) >= more)
    return 'under way';
  if (sum(open.map((refund) => refund.amountMinor)) >= more) {
    return [{ class: 'late success', what: `${of}: a refund of ${money(more)} that we gave up went through` }];
  }
  return [{ class: 'refund outside', what: `${of}: ${says}` }];
}

function isSame(a: Money, b: Money): boolean {
  return a.amountMinor === b.amountMinor && a.currencyCode === b.currencyCode;
}

function sum(amounts: readonly bigint[]): bigint {
  return amounts.reduce((total, amount) => total + amount, 0n);
}
