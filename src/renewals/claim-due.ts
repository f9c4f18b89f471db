import { sql } from 'kysely';
import { businessNow } from '../db/clock.ts';
import { inBatchTransaction, type EntityManager } from '../db/orm.ts';
import { rowTable } from '../db/row-table.ts';
import { failPoint } from '../lib/fail-point.ts';
import { newId } from '../lib/ids.ts';
import {
  attemptLeaseMs,
  insertAttempts,
  nextCheckAfter,
  storePayments,
  type AttemptRow,
} from '../payments/attempt-rows.ts';
import { idempotencyKey, type PaymentStatus } from '../payments/payment.ts';
import { minimumAmounts, type PaymentsContext } from '../payments/providers.ts';
import { findDiscounts, insertAdjustments, type Discount } from '../promotions/discounts.ts';
import { periodToCharge, type BillingPeriod } from '../subscriptions/billing-period.ts';
import { dunning } from '../subscriptions/dunning.ts';
import { forgive, scheduleOf, type SubscriptionChange } from '../subscriptions/lifecycle.ts';
import { nextPriceId, takeUpNextPrice } from '../subscriptions/plan-change.ts';
import { lockDueSubscriptions, storeChanges, type SubscriptionsContext } from '../subscriptions/subscription-rows.ts';
import type { SubscriptionState } from '../subscriptions/subscription.ts';
import { findTargetPrices } from '../subscriptions/target-price.ts';
import { watchForDue } from './watch.ts';

/** How many subscriptions one claim takes: of 500 and 2,000 neither was clearly better (design/6-benchmarks.md). */
export const claimBatchMax = 500;
/** A row that cannot be charged is looked at again, and complained of, this much later. */
const stuckWaitHours = 1;
/** Of one payment, ever; the database refuses the next one, which must not fail everybody's claim. */
const attemptsMax = 15;

/** What to charge a due subscription for. */
interface Due {
  readonly state: SubscriptionState;
  readonly paymentId: string;
  readonly attemptId: string;
  readonly attemptNumber: number;
  /** Of a new payment; a retry keeps the one that was frozen. */
  readonly period: BillingPeriod | undefined;
  /** Of a new payment: what is taken off its price. */
  readonly discount?: Discount | undefined;
}

/**
 * Claims what is due, in due order: under each row's lock it writes the payment and the attempt with its key, and marks
 * the subscription, in one short transaction; nothing is sent before it is committed. An empty answer means that
 * nothing is due, or that another replica is claiming at this moment. The advisory lock only saves work: what makes it
 * right are the row locks, one payment per (subscription, purpose) and one live attempt per payment. Plain SQL, because
 * a claim is hundreds of rows.
 */
export async function claimDue(ctx: SubscriptionsContext & PaymentsContext): Promise<AttemptRow[]> {
  const attempts = await inBatchTransaction(ctx.em, async (tx) => {
    const now = await businessNow(tx);
    const lateUntil = await watchForDue(tx, now);
    if (lateUntil === undefined) return [];
    const dunningPast = now.subtract({ hours: dunning.endWaitsHours });
    const states = await lockDueSubscriptions(tx, { now, lateUntil, dunningPast, countMax: claimBatchMax });
    if (states.length === 0) return [];
    const { current, switches } = await takeUpNextPrices(tx, states);
    const { dues, forgiven, passed, stuck } = decideDues(ctx, current, await findOwed(tx, current), now);
    await storeChanges(ctx, tx, [...switches, ...forgiven], now);
    await storePayments(tx, passed, now);
    await putOff(tx, stuck, now);
    const discounts = await findDiscounts(tx, current, minimumAmounts(ctx));
    const claimed = await storeClaim(
      tx,
      dues.map((due) => ({ ...due, discount: discounts.get(due.state.id) })),
      now,
    );
    failPoint('claim.before-commit');
    return claimed;
  });
  if (attempts.length > 0) failPoint('claim.after-commit');
  return attempts;
}

/** T22: what was scheduled, or announced, for the end of a period applies before the next one is charged. */
async function takeUpNextPrices(
  tx: EntityManager,
  states: readonly SubscriptionState[],
): Promise<{ current: SubscriptionState[]; switches: SubscriptionChange[] }> {
  const targets = await findTargetPrices(
    tx,
    states.flatMap((state) => nextPriceId(state) ?? []),
  );
  const switches: SubscriptionChange[] = [];
  const current = states.map((state) => {
    const target = targets.get(nextPriceId(state) ?? '');
    if (!target) return state;
    const taken = takeUpNextPrice(state, target);
    switches.push(taken);
    return taken.after;
  });
  return { current, switches };
}

/** A payment that was begun for a subscription and is not decided, or was decided for the cycle that is due. */
interface OwedRow {
  readonly id: string;
  readonly subscription_id: string;
  readonly purpose: string;
  readonly status: PaymentStatus;
  readonly attempts: number;
}

async function findOwed(tx: EntityManager, states: readonly SubscriptionState[]): Promise<Map<string, OwedRow[]>> {
  const { rows } = await sql<OwedRow>`
    select p.id, p.subscription_id, p.purpose, p.status,
      (select coalesce(max(a.attempt_number), 0) from payment_attempt a
        where a.payment_id = p.id and a.kind <> 'attached') as attempts
    from payment p join ${rowTable('s', states, {
      id: ['uuid', ({ id }) => id],
      cycle: ['integer', ({ cycle }) => cycle],
    })} on p.subscription_id = s.id
    where p.purpose like 'cycle:%' and (p.status = 'PENDING' or p.purpose = 'cycle:' || s.cycle + 1)
  `.execute(tx.getKysely());
  return Map.groupBy(rows, (row) => row.subscription_id);
}

interface Decided {
  readonly dues: Due[];
  readonly forgiven: SubscriptionChange[];
  /** Begun for periods that have passed whole since: nobody pays for them any more. */
  readonly passed: { id: string; status: 'VOID' }[];
  /** Rows that cannot be: nothing is charged for them, and they must not fill every claim to come. */
  readonly stuck: string[];
}

/**
 * What each subscription is charged for: the period that contains now, those that passed whole while billing was away
 * are forgiven; after a decline, or after a charge that never was, the payment that is owed already, by a new attempt.
 */
function decideDues(
  ctx: SubscriptionsContext,
  states: readonly SubscriptionState[],
  owedBy: ReadonlyMap<string, OwedRow[]>,
  now: Temporal.Instant,
): Decided {
  const decided: Decided = { dues: [], forgiven: [], passed: [], stuck: [] };
  for (const state of states) {
    const owed = owedBy.get(state.id) ?? [];
    const attemptId = newId();
    if (state.status === 'PAST_DUE') {
      const payment = owed.find(({ status }) => status === 'PENDING');
      if (payment && payment.attempts < attemptsMax) decided.dues.push({ state, ...again(payment), attemptId });
      else {
        const why = payment ? 'was tried too often' : 'owes nothing';
        ctx.log.error({ subscription: state.id, payment: payment?.id }, `subscription is past due and ${why}`);
        decided.stuck.push(state.id);
      }
      continue;
    }
    const { period, forgiven: missed } = periodToCharge(scheduleOf(state), state.cycle, now);
    const begun = owed.find(({ purpose }) => purpose === `cycle:${period.cycle}`);
    if (begun && (begun.status !== 'PENDING' || begun.attempts >= attemptsMax)) {
      const why = begun.status === 'PENDING' ? 'was tried too often' : 'is decided already';
      ctx.log.error({ subscription: state.id, payment: begun.id }, `subscription is due for what ${why}`);
      decided.stuck.push(state.id);
      continue;
    }
    decided.forgiven.push(...missed.map((span) => forgive(state, span)));
    decided.passed.push(
      ...owed.filter((payment) => payment !== begun).map(({ id }) => ({ id, status: 'VOID' as const })),
    );
    decided.dues.push(
      begun
        ? { state, ...again(begun), attemptId }
        : { state, paymentId: newId(), attemptId, attemptNumber: 1, period },
    );
  }
  return decided;
}

async function putOff(tx: EntityManager, ids: readonly string[], now: Temporal.Instant): Promise<void> {
  if (ids.length === 0) return;
  await sql`
    update subscription set next_charge_at = ${now.add({ hours: stuckWaitHours }).toString()}
    where id = any(${ids}::uuid[])
  `.execute(tx.getKysely());
}

/** A new attempt, with a new key, of a payment that keeps what was frozen with it. */
function again({ id, attempts }: OwedRow): Pick<Due, 'paymentId' | 'attemptNumber' | 'period'> {
  return { paymentId: id, attemptNumber: attempts + 1, period: undefined };
}

async function storeClaim(tx: EntityManager, dues: readonly Due[], now: Temporal.Instant): Promise<AttemptRow[]> {
  const db = tx.getKysely();
  const fresh = dues.flatMap((due) => (due.period ? [{ ...due, period: due.period }] : []));
  await sql`
    insert into payment (id, subscription_id, user_id, purpose, amount_minor, currency_code, period_start, period_end,
      status, created_at)
    select *, 'PENDING', ${now.toString()}::timestamptz
    from ${rowTable('fresh', fresh, {
      id: ['uuid', ({ paymentId }) => paymentId],
      subscription_id: ['uuid', ({ state }) => state.id],
      user_id: ['uuid', ({ state }) => state.userId],
      purpose: ['text', ({ period }) => `cycle:${period.cycle}`],
      amount_minor: ['bigint', ({ state, discount }) => state.amount.amountMinor - (discount?.discountMinor ?? 0n)],
      currency_code: ['text', ({ state }) => state.amount.currencyCode],
      period_start: ['instant', ({ period }) => period.start],
      period_end: ['instant', ({ period }) => period.end],
    })}
  `.execute(db);
  await insertAdjustments(
    tx,
    fresh.flatMap(({ paymentId, discount }) => (discount ? [{ ...discount, paymentId }] : [])),
    now,
  );
  const attempts = await insertAttempts(
    tx,
    sql`
    insert into payment_attempt (id, payment_id, subscription_id, attempt_number, kind, idempotency_key, provider,
      merchant_account, payment_method_id, amount_minor, currency_code, description, state, lease_until, next_check_at,
      created_at)
    select c.id, c.payment_id, payment.subscription_id, c.attempt_number, 'charge', c.idempotency_key, method.provider,
      method.merchant_account, method.id, payment.amount_minor, payment.currency_code, plan.name, 'PENDING',
      clock_timestamp() + make_interval(secs => ${attemptLeaseMs / 1000}), ${nextCheckAfter(0, now).toString()},
      ${now.toString()}
    from ${rowTable('c', dues, {
      id: ['uuid', ({ attemptId }) => attemptId],
      payment_id: ['uuid', ({ paymentId }) => paymentId],
      attempt_number: ['integer', ({ attemptNumber }) => attemptNumber],
      idempotency_key: ['text', ({ paymentId, attemptNumber }) => idempotencyKey(paymentId, attemptNumber)],
    })} join payment on payment.id = c.payment_id
      join subscription s on s.id = payment.subscription_id
      join plan on plan.id = s.plan_id
      join payment_method method on method.id = s.payment_method_id`,
  );
  await sql`
    update subscription s set open_payment_id = c.payment_id
    from ${rowTable('c', dues, {
      id: ['uuid', ({ state }) => state.id],
      payment_id: ['uuid', ({ paymentId }) => paymentId],
    })}
    where s.id = c.id
  `.execute(db);
  return attempts;
}
