import { sql } from 'kysely';
import { businessNow } from '../db/clock.ts';
import { inTransaction } from '../db/orm.ts';
import { appendFacts } from '../ledger/append-facts.ts';
import type { JournalFact } from '../ledger/journal-fact.ts';
import { failPoint } from '../lib/fail-point.ts';
import type { Money } from '../lib/money.ts';
import { enqueueNotices } from '../outbox/customer-notices.ts';
import { attemptLeaseMs, nextCheckAfter } from './attempt-rows.ts';
import { mapBounded } from './call-provider.ts';
import { NotExecuted, RequestRefused, type PaymentProvider, type RefundOutcome } from './provider.ts';
import { freezeReceipt } from './receipts.ts';
import { findProviderOf, notConfigured, type PaymentsContext } from './providers.ts';

const batchMax = 100;
const concurrencyMax = 8;
const retryMs = 1_000;
const notConfiguredRetryMs = 3_600_000;
/** A key that the provider is about to forget is not sent again: forgotten, it would give the money back twice. */
const keyReserveMs = 4 * 3_600_000;
/** As with charges: two look-ups so far apart that do not find it, and it certainly never was. */
const absentForMs = 15 * 60_000;

interface RefundRow {
  id: string;
  attempt_id: string;
  payment_id: string;
  user_id: string;
  subscription_id: string;
  provider: string;
  merchant_account: string;
  provider_payment_id: string;
  amount_minor: string;
  currency_code: string;
  idempotency_key: string;
  tries: number;
  /** How long its key is in use; null while nothing that was sent can have arrived. */
  key_age_ms: string | null;
  absent_ms: string | null;
}

/**
 * One round over the refunds that are due: claim, call, settle, as with charges. A refund whose outcome is unknown is
 * sent again under the same key while the provider remembers it; after that only when two look-ups say that it never
 * was, and under a new key. Gives how many were due.
 */
export async function sendRefunds(ctx: PaymentsContext): Promise<number> {
  const refunds = await claimRefunds(ctx);
  await mapBounded(refunds, concurrencyMax, (refund) => sendRefund(ctx, refund));
  return refunds.length;
}

async function claimRefunds(ctx: PaymentsContext): Promise<RefundRow[]> {
  return inTransaction(ctx.em, async (tx) => {
    const now = await businessNow(tx);
    const { rows } = await sql<RefundRow>`
      select r.id, r.attempt_id, a.payment_id, p.user_id, a.subscription_id, r.provider, r.merchant_account, r.provider_payment_id,
        r.amount_minor, r.currency_code, r.idempotency_key, r.tries,
        floor(extract(epoch from ${now.toString()}::timestamptz - r.key_sent_at) * 1000)::text as key_age_ms,
        floor(extract(epoch from ${now.toString()}::timestamptz - r.absent_since) * 1000)::text as absent_ms
      from refund r join payment_attempt a on a.id = r.attempt_id join payment p on p.id = a.payment_id
      where r.next_try_at <= ${now.toString()} and r.lease_until <= clock_timestamp()
        and not exists (select from dispute d where d.attempt_id = r.attempt_id and d.state = 'OPEN')
      order by r.next_try_at, r.id limit ${batchMax} for update of r skip locked
    `.execute(tx.getKysely());
    await sql`
      update refund r set tries = r.tries + 1, next_try_at = c.next_try_at,
        key_sent_at = coalesce(r.key_sent_at, ${now.toString()}),
        lease_until = clock_timestamp() + make_interval(secs => ${attemptLeaseMs / 1000})
      from unnest(${rows.map(({ id }) => id)}::uuid[],
        ${rows.map(({ tries }) => nextCheckAfter(tries, now).toString())}::timestamptz[]) as c(id, next_try_at)
      where r.id = c.id
    `.execute(tx.getKysely());
    return rows;
  });
}

async function sendRefund(ctx: PaymentsContext, refund: RefundRow): Promise<void> {
  const owner = { provider: refund.provider, merchantAccount: refund.merchant_account };
  const provider = findProviderOf(ctx, owner);
  const facts = { refund: refund.id, provider: refund.provider, providerPayment: refund.provider_payment_id };
  if (!provider) {
    ctx.log.error(facts, `refund waits: ${notConfigured(owner)}`);
    return waitUnsent(ctx, refund);
  }
  try {
    const outcome = await callRefund(ctx, provider, refund);
    failPoint('refund.after-call');
    if (outcome === undefined) return await followAbsent(ctx, refund);
    if (outcome.kind === 'pending') {
      ctx.log.info(facts, 'refund is under way at the provider');
      return releaseRefund(ctx, refund.id);
    }
    if (outcome.kind === 'failed') {
      ctx.log.error({ ...facts, reason: outcome.reason }, 'refund failed: a person has to look');
      return settleRefund(ctx, refund, { state: 'FAILED', note: outcome.reason });
    }
    ctx.log.info(facts, 'refunded');
    await settleRefund(ctx, refund, { state: 'SUCCEEDED', providerRefundId: outcome.providerRefundId });
  } catch (error) {
    // A refusal of a repeat says nothing about the first call.
    if (error instanceof RequestRefused && refund.key_age_ms === null) {
      ctx.log.error({ ...facts, err: error }, 'refund refused: a person has to look');
      return settleRefund(ctx, refund, { state: 'FAILED', note: error.message });
    }
    ctx.log.warn({ ...facts, err: error }, 'refund is not settled yet');
    if (error instanceof NotExecuted) await retrySoon(ctx, refund, error.retryAfterMs ?? retryMs);
    else await releaseRefund(ctx, refund.id);
  }
}

/**
 * What became of the refund: a repeat looks before it sends again, for the answer to a repeat only tells how the refund
 * began. Undefined when the provider does not know of it, and it is too late to send it under its key.
 */
async function callRefund(
  ctx: PaymentsContext,
  provider: PaymentProvider,
  refund: RefundRow,
): Promise<RefundOutcome | undefined> {
  const query = { reference: refund.id, providerPaymentId: refund.provider_payment_id };
  const keyAgeMs = refund.key_age_ms === null ? undefined : Number(refund.key_age_ms);
  const known = keyAgeMs === undefined ? undefined : await provider.lookUpRefund(query);
  if (known !== undefined) return known;
  // What was never sent has no key that could be forgotten, however long it waited for a dispute, or for the provider.
  if (keyAgeMs !== undefined && keyAgeMs > provider.capabilities.idempotencyWindowMs - keyReserveMs) return undefined;
  const receipt = await freezeReceipt(ctx.em, provider, { attemptId: refund.attempt_id, refundId: refund.id });
  failPoint('refund.before-call');
  return provider.refund({ ...query, receipt, idempotencyKey: refund.idempotency_key, amount: amountOf(refund) });
}

async function settleRefund(
  ctx: PaymentsContext,
  refund: RefundRow,
  result: { state: 'SUCCEEDED'; providerRefundId: string } | { state: 'FAILED'; note: string },
): Promise<void> {
  await inTransaction(ctx.em, async (tx) => {
    const now = await businessNow(tx);
    const { numAffectedRows } = await sql`
      update refund set state = ${result.state}, next_try_at = null, settled_at = ${now.toString()},
        lease_until = clock_timestamp(),
        provider_refund_id = ${result.state === 'SUCCEEDED' ? result.providerRefundId : null},
        note = ${result.state === 'FAILED' ? result.note : ''}
      where id = ${refund.id} and state = 'PENDING'
    `.execute(tx.getKysely());
    // Another one has settled it, and has written it down.
    if (numAffectedRows !== 1n) return;
    const { user_id: userId, subscription_id: subscriptionId, payment_id: paymentId } = refund;
    const kind = result.state === 'SUCCEEDED' ? 'refundSucceeded' : 'refundFailed';
    const body = { kind, amount: amountOf(refund), paymentId } as const;
    await enqueueNotices(tx, [{ userId, subscriptionId, body }], now);
    if (result.state === 'SUCCEEDED') await appendFacts(tx, [refundedFact(refund, result.providerRefundId)], now);
  });
  failPoint('refund.after-commit');
  ctx.wake('relay');
}

function refundedFact(refund: RefundRow, providerRefundId: string): JournalFact {
  return {
    kind: 'REFUNDED',
    subscriptionId: refund.subscription_id,
    paymentId: refund.payment_id,
    attemptId: refund.attempt_id,
    refundId: refund.id,
    provider: refund.provider,
    merchantAccount: refund.merchant_account,
    providerPaymentId: refund.provider_payment_id,
    providerRefundId,
    amount: amountOf(refund),
  };
}

function amountOf(refund: RefundRow): Money {
  return { currencyCode: refund.currency_code, amountMinor: BigInt(refund.amount_minor) };
}

/**
 * The provider does not know of a refund whose key it is about to forget. Not at once, for the last call may still be
 * under way there; found absent for long enough, it is sent under a key that was never used.
 */
async function followAbsent(ctx: PaymentsContext, { id, idempotency_key: key, absent_ms: absentMs }: RefundRow) {
  const isCertain = absentMs !== null && Number(absentMs) >= absentForMs;
  ctx.log.warn({ refund: id, isCertain }, 'refund is not known to the payment system');
  await inTransaction(ctx.em, async (tx) => {
    const now = await businessNow(tx);
    const change = isCertain
      ? sql`idempotency_key = ${nextKey(key)}, key_sent_at = null, absent_since = null, next_try_at = ${now.toString()}`
      : sql`absent_since = coalesce(absent_since, ${now.toString()}),
          next_try_at = ${now.add({ milliseconds: absentForMs }).toString()}`;
    await sql`
      update refund set ${change}, lease_until = clock_timestamp()
      where id = ${id} and state = 'PENDING' and idempotency_key = ${key}
    `.execute(tx.getKysely());
  });
}

/** `rfd_<id>`, `rfd_<id>_2`, `rfd_<id>_3`: derived, never random. */
function nextKey(key: string): string {
  const number = /_(\d+)$/.exec(key)?.[1];
  return number === undefined ? `${key}_2` : `${key.slice(0, -number.length)}${Number(number) + 1}`;
}

/** The call is over: what comes next needs no more than its time. */
async function releaseRefund(ctx: PaymentsContext, id: string): Promise<void> {
  await inTransaction(ctx.em, (tx) =>
    sql`update refund set lease_until = clock_timestamp() where id = ${id} and state = 'PENDING'`.execute(
      tx.getKysely(),
    ),
  );
}

/** Nothing was sent, so it does not count as a try. */
async function waitUnsent(ctx: PaymentsContext, { id, key_age_ms: keyAgeMs }: RefundRow): Promise<void> {
  await inTransaction(ctx.em, async (tx) => {
    const at = (await businessNow(tx)).add({ milliseconds: notConfiguredRetryMs }).toString();
    await sql`
      update refund set tries = tries - 1, next_try_at = ${at}, lease_until = clock_timestamp(),
        key_sent_at = case when ${keyAgeMs === null} then null else key_sent_at end
      where id = ${id} and state = 'PENDING'
    `.execute(tx.getKysely());
  });
}

/** This call was certainly not executed; an earlier one may have been. */
async function retrySoon(
  ctx: PaymentsContext,
  { id, key_age_ms: keyAgeMs }: RefundRow,
  afterMs: number,
): Promise<void> {
  await inTransaction(ctx.em, async (tx) => {
    const at = (await businessNow(tx)).add({ milliseconds: afterMs }).toString();
    await sql`
      update refund set next_try_at = ${at}, lease_until = clock_timestamp(),
        key_sent_at = case when ${keyAgeMs === null} then null else key_sent_at end
      where id = ${id} and state = 'PENDING'
    `.execute(tx.getKysely());
  });
}
