import { sql } from 'kysely';
import { instantFromRow } from '../db/instant-type.ts';
import type { EntityManager } from '../db/orm.ts';
import { appendFacts } from '../ledger/append-facts.ts';
import { BillingError } from '../lib/billing-error.ts';
import { newId } from '../lib/ids.ts';
import type { Money } from '../lib/money.ts';
import type { AttemptRow } from './attempt-rows.ts';
import type { RefundReason } from './refund.ts';

/** Money of a succeeded payment that has not gone back, and is not on its way back. */
export interface Refundable {
  readonly attemptId: string;
  readonly paymentId: string;
  readonly left: Money;
  /** When it was paid. */
  readonly paidAt: Temporal.Instant;
}

/**
 * Writes down that surplus money goes back, in the transaction that found it: all that the provider took, once per
 * payment of the provider's, whoever finds it again.
 */
export async function claimSurplusRefunds(
  tx: EntityManager,
  surplus: readonly { attempt: AttemptRow; providerPaymentId: string; amount: Money }[],
  now: Temporal.Instant,
): Promise<void> {
  if (surplus.length === 0) return;
  const ids = surplus.map(() => newId());
  const { rows } = await sql<{ id: string }>`
    insert into refund (id, attempt_id, provider_payment_id, idempotency_key, reason, provider, merchant_account,
      amount_minor, currency_code, state, next_try_at, lease_until, created_at)
    select c.id, c.attempt_id, c.provider_payment_id, c.idempotency_key, 'SURPLUS', a.provider, a.merchant_account,
      c.amount_minor, c.currency_code, 'PENDING', ${now.toString()}, clock_timestamp(), ${now.toString()}
    from unnest(
      ${ids}::uuid[],
      ${surplus.map(({ attempt }) => attempt.id)}::uuid[],
      ${surplus.map(({ providerPaymentId }) => providerPaymentId)}::text[],
      ${surplus.map(({ amount }) => amount.amountMinor)}::bigint[],
      ${surplus.map(({ amount }) => amount.currencyCode)}::text[],
      ${ids.map((id) => `rfd_${id}`)}::text[]
    ) as c(id, attempt_id, provider_payment_id, amount_minor, currency_code, idempotency_key)
      join payment_attempt a on a.id = c.attempt_id
    where c.amount_minor > 0
    on conflict do nothing
    returning id
  `.execute(tx.getKysely());
  const claimed = new Set(rows.map(({ id }) => id));
  // Whoever finds the money again writes it down no second time.
  const charged = surplus.filter((_, index) => claimed.has(ids[index]!));
  await appendFacts(
    tx,
    charged.map(({ attempt, providerPaymentId, amount }) => ({
      kind: 'CHARGED',
      subscriptionId: attempt.subscriptionId,
      paymentId: attempt.paymentId,
      attemptId: attempt.id,
      provider: attempt.provider,
      merchantAccount: attempt.merchantAccount,
      providerPaymentId,
      amount,
      period: undefined,
    })),
    now,
  );
}

/**
 * What of a payment can still be given back, under the lock of its attempt: refunded and on its way back count as gone.
 * What a bank took back for good is gone, too. Throws PAYMENT_OUTCOME_PENDING while an attempt of it is open,
 * DISPUTE_OPEN while it is disputed, NOTHING_TO_REFUND when no money of it is left.
 */
export async function lockRefundable(tx: EntityManager, paymentId: string): Promise<Refundable> {
  const db = tx.getKysely();
  const { rows } = await sql<{ id: string; state: string; surplus: boolean }>`
    select id, state, surplus from payment_attempt where payment_id = ${paymentId} order by id for update
  `.execute(db);
  if (rows.some(({ state }) => ['SENT', 'WAITING', 'UNKNOWN', 'PARKED'].includes(state))) {
    throw new BillingError(
      'wrong-state',
      'PAYMENT_OUTCOME_PENDING',
      'the outcome of this payment is not known yet; try again when it is',
    );
  }
  const { rows: disputes } = await sql<{ open: boolean | null }>`
    select bool_or(state = 'OPEN') as open from dispute where attempt_id = any(${rows.map(({ id }) => id)}::uuid[])
  `.execute(db);
  if (disputes[0]!.open) {
    throw new BillingError(
      'wrong-state',
      'DISPUTE_OPEN',
      'this payment is disputed; nothing of it goes back until then',
    );
  }
  const paid = rows.find(({ state, surplus }) => state === 'SUCCEEDED' && !surplus);
  if (!paid) throw nothingToRefund();
  const { rows: sums } = await sql<{ currency_code: string; left: string; paid_at: string }>`
    select a.currency_code, a.settled_at as paid_at, a.amount_minor - coalesce(sum(r.amount_minor), 0) - (
        select coalesce(sum(d.amount_minor), 0) from dispute d where d.attempt_id = a.id and d.state = 'LOST') as left
    from payment_attempt a
      left join refund r on r.attempt_id = a.id and r.state <> 'FAILED' and r.provider_payment_id = a.provider_payment_id
    where a.id = ${paid.id} group by a.id
  `.execute(db);
  const left = { currencyCode: sums[0]!.currency_code, amountMinor: BigInt(sums[0]!.left) };
  if (left.amountMinor <= 0n) throw nothingToRefund();
  return { attemptId: paid.id, paymentId, left, paidAt: instantFromRow(sums[0]!.paid_at) };
}

/** Writes down that money goes back; the caller holds the lock of `lockRefundable` and took no more than is left. */
export async function claimRefund(
  tx: EntityManager,
  refund: { attemptId: string; amount: Money; reason: Exclude<RefundReason, 'SURPLUS'> },
  now: Temporal.Instant,
): Promise<string> {
  const id = newId();
  await sql`
    insert into refund (id, attempt_id, provider_payment_id, idempotency_key, reason, provider, merchant_account,
      amount_minor, currency_code, state, next_try_at, lease_until, created_at)
    select ${id}, a.id, a.provider_payment_id, ${`rfd_${id}`}, ${refund.reason}, a.provider, a.merchant_account,
      ${refund.amount.amountMinor}, a.currency_code, 'PENDING', ${now.toString()}, clock_timestamp(), ${now.toString()}
    from payment_attempt a where a.id = ${refund.attemptId}
  `.execute(tx.getKysely());
  return id;
}

function nothingToRefund(): BillingError {
  return new BillingError('wrong-state', 'NOTHING_TO_REFUND', 'no money of this payment is left to give back');
}
