import { randomUUID } from 'node:crypto';
import type { MoneyMoved } from '../ledger/journal-fact.ts';
import type { Row } from './world.ts';

type Query = (text: string, values?: unknown[]) => Promise<Row[]>;

export interface PlantedCharge {
  subscriptionId?: string;
  attemptId?: string;
  provider?: string;
  merchantAccount?: string;
  providerPaymentId?: string;
  amountMinor?: bigint;
  state?: 'SUCCEEDED' | 'DEAD' | 'WAITING';
  at?: string;
}

/** Plants a payment with one attempt, by SQL, and gives what the journal has to keep of it. */
export async function plantCharge(query: Query, charge: PlantedCharge = {}): Promise<MoneyMoved> {
  const { state = 'SUCCEEDED', at = '2027-02-01T00:00:00Z' } = charge;
  const moved: MoneyMoved = {
    subscriptionId: charge.subscriptionId ?? randomUUID(),
    paymentId: randomUUID(),
    attemptId: charge.attemptId ?? randomUUID(),
    provider: charge.provider ?? 'sandbox',
    merchantAccount: charge.merchantAccount ?? 'sandbox-cinema',
    providerPaymentId: charge.providerPaymentId ?? `pay_${randomUUID()}`,
    amount: { currencyCode: 'RUB', amountMinor: charge.amountMinor ?? 29_900n },
  };
  const { subscriptionId, paymentId, attemptId, provider, merchantAccount, providerPaymentId, amount } = moved;
  const isOpen = state === 'WAITING';
  await query(
    `insert into payment (id, subscription_id, user_id, purpose, amount_minor, currency_code, status, created_at, settled_at)
     values ($1, $2, $1, 'cycle:' || floor(random() * 1e9)::int, $3, $4, 'SUCCEEDED', $5, $5)`,
    [paymentId, subscriptionId, amount.amountMinor, amount.currencyCode, at],
  );
  await query(
    `insert into payment_attempt (id, payment_id, subscription_id, attempt_number, kind, idempotency_key, provider,
       merchant_account, amount_minor, currency_code, description, state, provider_payment_id, lease_until, created_at,
       settled_at, next_check_at)
     values ($1::uuid, $2, $3, 1, 'checkout', $1::text, $4, $5, $6, $7, '', $8, $9, '2020-01-01', $10, $11, $12)`,
    [
      attemptId,
      paymentId,
      subscriptionId,
      provider,
      merchantAccount,
      amount.amountMinor,
      amount.currencyCode,
      state,
      providerPaymentId,
      at,
      isOpen ? null : at,
      isOpen ? at : null,
    ],
  );
  return moved;
}

/** Changes the journal as its owner could: with the triggers that refuse it switched off. */
export async function forge(query: Query, ...statements: string[]): Promise<void> {
  const tables = ['journal_batch', 'journal_fact'];
  for (const table of tables) await query(`alter table ${table} disable trigger all`);
  for (const statement of statements) await query(statement);
  for (const table of tables) await query(`alter table ${table} enable always trigger ${table}_is_append_only`);
}
