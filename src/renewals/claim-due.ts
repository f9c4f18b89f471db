import { sql } from 'kysely';
import { businessNow } from '../db/clock.ts';
import { lockKeys } from '../db/lock-keys.ts';
import { inTransaction, type EntityManager } from '../db/orm.ts';
import { newId } from '../lib/ids.ts';
import { attemptLeaseMs, findAttempts, nextCheckAfter, type AttemptRow } from '../payments/attempt-rows.ts';
import { idempotencyKey } from '../payments/payment.ts';
import { periodToCharge, type BillingPeriod } from '../subscriptions/billing-period.ts';
import { scheduleOf, type SubscriptionChange } from '../subscriptions/lifecycle.ts';
import { lockSubscriptions, storeChanges, type SubscriptionsContext } from '../subscriptions/subscription-rows.ts';
import type { SubscriptionState } from '../subscriptions/subscription.ts';

/** How many subscriptions one claim takes: of 500 and 2,000 neither was clearly better (design/6-benchmarks.md). */
export const claimBatchMax = 500;

/** What to charge a due subscription for. */
interface Due {
  readonly state: SubscriptionState;
  readonly paymentId: string;
  readonly attemptId: string;
  readonly attemptNumber: number;
  /** Of a new payment; a retry keeps the one that was frozen. */
  readonly period: BillingPeriod | undefined;
}

/**
 * Claims what is due, in due order: under each row's lock it writes the payment and the attempt with its key, and marks
 * the subscription, in one short transaction; nothing is sent before it is committed. An empty answer means that
 * nothing is due, or that another replica is claiming at this moment. The advisory lock only saves work: what makes it
 * right are the row locks, one payment per (subscription, purpose) and one live attempt per payment. Plain SQL, because
 * a claim is hundreds of rows.
 */
export async function claimDue(ctx: SubscriptionsContext): Promise<AttemptRow[]> {
  return inTransaction(ctx.em, async (tx) => {
    const db = tx.getKysely();
    const [space, key] = lockKeys.renewals;
    const { rows: locks } = await sql<{ free: boolean }>`
      select pg_try_advisory_xact_lock(${space}, ${key}) as free
    `.execute(db);
    if (!locks[0]!.free) return [];
    const now = await businessNow(tx);
    const { rows } = await sql<{ id: string }>`
      select id from subscription
      where next_charge_at <= ${now.toString()} and open_payment_id is null and payment_method_id is not null
      order by next_charge_at, id limit ${claimBatchMax} for update skip locked
    `.execute(db);
    if (rows.length === 0) return [];
    const states = [
      ...(
        await lockSubscriptions(
          tx,
          rows.map(({ id }) => id),
        )
      ).values(),
    ];
    const forgiven: SubscriptionChange[] = [];
    const dues = [
      ...states.filter((state) => state.status === 'ACTIVE').map((state) => newPayment(state, now, forgiven)),
      ...(await retries(
        ctx,
        tx,
        states.filter((state) => state.status === 'PAST_DUE'),
      )),
    ];
    await storeChanges(ctx, tx, forgiven, now);
    await storeClaim(tx, dues, now);
    return findAttempts(
      tx,
      dues.map((due) => due.attemptId),
    );
  });
}

/** The period that contains now; those that passed whole while billing was away are forgiven, never charged. */
function newPayment(state: SubscriptionState, now: Temporal.Instant, forgiven: SubscriptionChange[]): Due {
  const { period, forgiven: missed } = periodToCharge(scheduleOf(state), state.cycle, now);
  for (const { start, end } of missed) {
    const reason = `${start.toString()}/${end.toString()}`;
    forgiven.push({ before: state, after: state, kind: 'PERIOD_FORGIVEN', reason, entitlement: undefined });
  }
  return { state, paymentId: newId(), attemptId: newId(), attemptNumber: 1, period };
}

/** A retry is a new attempt, with a new key, of the payment that was declined. */
async function retries(ctx: SubscriptionsContext, tx: EntityManager, states: SubscriptionState[]): Promise<Due[]> {
  if (states.length === 0) return [];
  const { rows } = await sql<{ id: string; subscription_id: string; attempts: number }>`
    select p.id, p.subscription_id, (select max(a.attempt_number) from payment_attempt a where a.payment_id = p.id) as attempts
    from payment p where p.subscription_id = any(${states.map(({ id }) => id)}::uuid[]) and p.status = 'PENDING'
  `.execute(tx.getKysely());
  const owed = new Map(rows.map((row) => [row.subscription_id, row]));
  return states.flatMap((state) => {
    const payment = owed.get(state.id);
    if (!payment) {
      // One row that cannot be must not hold up the batch.
      ctx.log.error({ subscription: state.id }, 'subscription is past due and owes nothing');
      return [];
    }
    return [
      { state, paymentId: payment.id, attemptId: newId(), attemptNumber: payment.attempts + 1, period: undefined },
    ];
  });
}

async function storeClaim(tx: EntityManager, dues: readonly Due[], now: Temporal.Instant): Promise<void> {
  const db = tx.getKysely();
  const fresh = dues.flatMap((due) => (due.period ? [{ ...due, period: due.period }] : []));
  await sql`
    insert into payment (id, subscription_id, user_id, purpose, amount_minor, currency_code, period_start, period_end,
      status, created_at)
    select *, 'PENDING', ${now.toString()}::timestamptz from unnest(
      ${fresh.map(({ paymentId }) => paymentId)}::uuid[],
      ${fresh.map(({ state }) => state.id)}::uuid[],
      ${fresh.map(({ state }) => state.userId)}::uuid[],
      ${fresh.map(({ period }) => `cycle:${period.cycle}`)}::text[],
      ${fresh.map(({ state }) => state.amount.amountMinor)}::bigint[],
      ${fresh.map(({ state }) => state.amount.currencyCode)}::text[],
      ${fresh.map(({ period }) => period.start.toString())}::timestamptz[],
      ${fresh.map(({ period }) => period.end.toString())}::timestamptz[])
  `.execute(db);
  await sql`
    insert into payment_attempt (id, payment_id, subscription_id, attempt_number, kind, idempotency_key, provider,
      merchant_account, payment_method_id, amount_minor, currency_code, description, state, lease_until, next_check_at,
      created_at)
    select c.id, c.payment_id, payment.subscription_id, c.attempt_number, 'charge', c.idempotency_key, method.provider,
      method.merchant_account, method.id, payment.amount_minor, payment.currency_code, plan.name, 'PENDING',
      clock_timestamp() + make_interval(secs => ${attemptLeaseMs / 1000}), ${nextCheckAfter(0, now).toString()},
      ${now.toString()}
    from unnest(
      ${dues.map(({ attemptId }) => attemptId)}::uuid[],
      ${dues.map(({ paymentId }) => paymentId)}::uuid[],
      ${dues.map(({ attemptNumber }) => attemptNumber)}::integer[],
      ${dues.map(({ paymentId, attemptNumber }) => idempotencyKey(paymentId, attemptNumber))}::text[]
    ) as c(id, payment_id, attempt_number, idempotency_key)
      join payment on payment.id = c.payment_id
      join subscription s on s.id = payment.subscription_id
      join plan on plan.id = s.plan_id
      join payment_method method on method.id = s.payment_method_id
  `.execute(db);
  await sql`
    update subscription s set open_payment_id = c.payment_id
    from unnest(${dues.map(({ state }) => state.id)}::uuid[], ${dues.map(({ paymentId }) => paymentId)}::uuid[])
      as c(id, payment_id)
    where s.id = c.id
  `.execute(db);
}
