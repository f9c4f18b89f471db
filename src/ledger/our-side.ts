import { sql, type QueryExecutorProvider } from 'kysely';
import { isUuid } from '../lib/ids.ts';
import type { OurSide } from './compare-payment.ts';
import type { ProviderBooks, ProviderPayment } from './provider-books.ts';

interface AttemptRow {
  id: string;
  state: string;
  provider_payment_id: string | null;
  amount_minor: string;
  currency_code: string;
  leased: boolean;
}

interface FactRow {
  attempt_id: string;
  kind: string;
  provider_payment_id: string;
  amount_minor: string;
  currency_code: string;
}

interface RefundRow {
  attempt_id: string;
  state: 'PENDING' | 'FAILED';
  provider_payment_id: string;
  amount_minor: string;
}

/**
 * What we have on each of the provider's payments, in their order: by our reference, else by the provider's id. The
 * attempts are read before the facts: one that is seen as settled then has its fact.
 */
export async function readOurSide(
  db: QueryExecutorProvider,
  { name, merchantAccount }: ProviderBooks,
  payments: readonly ProviderPayment[],
): Promise<OurSide[]> {
  const references = payments.map(({ reference }) => reference).filter(isUuid);
  const { rows: attempts } = await sql<AttemptRow>`
    select id, state, provider_payment_id, amount_minor, currency_code, lease_until > clock_timestamp() as leased
    from payment_attempt where provider = ${name} and merchant_account = ${merchantAccount} and (
      id = any(${references}::uuid[])
      or provider_payment_id = any(${payments.map(({ providerPaymentId }) => providerPaymentId)}::text[]))
  `.execute(db);
  const byId = new Map(attempts.map((row) => [row.id, row]));
  const byProviderId = new Map(attempts.map((row) => [row.provider_payment_id, row]));
  const attemptIds = [...new Set([...references.map((id) => id.toLowerCase()), ...byId.keys()])];
  const { rows: facts } = await sql<FactRow>`
    select attempt_id, kind, provider_payment_id, amount_minor, currency_code from journal_fact
    where attempt_id = any(${attemptIds}::uuid[]) and provider = ${name} and merchant_account = ${merchantAccount}
  `.execute(db);
  const { rows: refunds } = await sql<RefundRow>`
    select attempt_id, state, provider_payment_id, amount_minor from refund
    where attempt_id = any(${attemptIds}::uuid[]) and state in ('PENDING', 'FAILED')
  `.execute(db);
  const [factsOf, refundsOf] = [
    Map.groupBy(facts, (row) => row.attempt_id),
    Map.groupBy(refunds, (row) => row.attempt_id),
  ];
  return payments.map(({ providerPaymentId, reference }) => {
    const attempt = byId.get(reference.toLowerCase()) ?? byProviderId.get(providerPaymentId);
    const attemptId = attempt?.id ?? reference.toLowerCase();
    return {
      attempt: attempt && { id: attempt.id, state: attempt.state, leased: attempt.leased, amount: moneyOf(attempt) },
      facts: (factsOf.get(attemptId) ?? []).map((fact) => ({
        kind: fact.kind,
        providerPaymentId: fact.provider_payment_id,
        amount: moneyOf(fact),
      })),
      openRefunds: (refundsOf.get(attemptId) ?? []).map((refund) => ({
        state: refund.state,
        providerPaymentId: refund.provider_payment_id,
        amountMinor: BigInt(refund.amount_minor),
      })),
    };
  });
}

function moneyOf(row: { amount_minor: string; currency_code: string }) {
  return { currencyCode: row.currency_code, amountMinor: BigInt(row.amount_minor) };
}
