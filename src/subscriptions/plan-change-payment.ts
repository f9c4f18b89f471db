import type { EntityManager } from '../db/orm.ts';
import { newId } from '../lib/ids.ts';
import { attemptLeaseMs, findAttempts, nextCheckAfter, type AttemptRow } from '../payments/attempt-rows.ts';
import { PaymentMethod } from '../payments/customer.ts';
import { idempotencyKey, Payment, PaymentAttempt } from '../payments/payment.ts';
import type { PaymentsContext } from '../payments/providers.ts';
import { requireMethod } from './commands.ts';
import type { DecidedPlanChange } from './decide-plan-change.ts';
import { nextChargeAt } from './next-charge.ts';
import { isSameInterval, type PlanChangeQuote } from './plan-change-quote.ts';
import { requireChargeable } from './retry-payment.ts';
import { requireTransition } from './state-table.ts';
import type { SubscriptionState } from './subscription.ts';
import { findTargetPrices } from './target-price.ts';

/** T21: how long an upgrade may wait to be paid; the renewal waits that long. */
const expiresAfterHours = 1;

type ChangePurpose = `change:${string}`;

/**
 * Writes down what an upgrade costs, with the attempt that takes it from the subscription's method. Throws
 * PAYMENT_METHOD_REQUIRED, PAYMENT_METHOD_DECLINED, TOO_MANY_ATTEMPTS.
 */
export async function addChangePayment(
  tx: EntityManager,
  state: SubscriptionState,
  decided: DecidedPlanChange,
  purpose: ChangePurpose,
  now: Temporal.Instant,
): Promise<AttemptRow> {
  requireTransition(state, 'change-plan-now');
  requireMethod(state);
  await requireChargeable(tx, state.paymentMethodId!, now);
  const method = await tx.findOneOrFail(PaymentMethod, { id: state.paymentMethodId! });
  const payment = createPayment(tx, state, decided, purpose, now);
  await tx.flush();
  const attempt = tx.create(PaymentAttempt, {
    id: newId(),
    paymentId: payment.id,
    subscriptionId: state.id,
    attemptNumber: 1,
    kind: 'charge',
    idempotencyKey: idempotencyKey(payment.id, 1),
    provider: method.provider,
    merchantAccount: method.merchantAccount,
    paymentMethodId: method.id,
    amountMinor: payment.amountMinor,
    currencyCode: payment.currencyCode,
    description: decided.target.planName,
    state: 'PENDING',
    leaseUntil: Temporal.Now.instant().add({ milliseconds: attemptLeaseMs }),
    nextCheckAt: nextCheckAfter(0, now),
    createdAt: now,
  });
  await tx.flush();
  return (await findAttempts(tx, [attempt.id]))[0]!;
}

/** An upgrade that costs nothing is paid already; what it took over of the time before is kept with it. */
export async function addSettledChange(
  tx: EntityManager,
  state: SubscriptionState,
  decided: DecidedPlanChange,
  purpose: ChangePurpose,
  now: Temporal.Instant,
): Promise<void> {
  const payment = createPayment(tx, state, decided, purpose, now);
  payment.status = 'SUCCEEDED';
  payment.settledAt = now;
  await tx.flush();
}

function createPayment(
  tx: EntityManager,
  state: SubscriptionState,
  { target, quote, paid }: DecidedPlanChange,
  purpose: ChangePurpose,
  now: Temporal.Instant,
): Payment {
  const { credit, due, prorationAt, period } = quote;
  const expiry = now.add({ hours: expiresAfterHours });
  const periodEnd = state.currentPeriodEnd!;
  return tx.create(Payment, {
    id: newId(),
    subscriptionId: state.id,
    userId: state.userId,
    purpose,
    amountMinor: due.amountMinor,
    currencyCode: due.currencyCode,
    periodStart: prorationAt,
    periodEnd: period.end,
    priceId: target.priceId,
    creditMinor: credit.amountMinor,
    creditedPaymentId: paid?.payments[0].id ?? null,
    expiresAt: Temporal.Instant.compare(expiry, periodEnd) < 0 ? expiry : periodEnd,
    status: 'PENDING',
    createdAt: now,
  });
}

/** What was agreed with a payment for another plan: the frozen amounts, whatever has become of it. */
export async function quoteOfPayment(
  ctx: PaymentsContext,
  tx: EntityManager,
  payment: Payment,
  state: SubscriptionState,
): Promise<PlanChangeQuote> {
  const target = (await findTargetPrices(tx, [payment.priceId!])).get(payment.priceId!)!;
  const money = (amountMinor: bigint) => ({ ...target.amount, amountMinor });
  const [start, end] = [payment.periodStart!, payment.periodEnd!];
  return {
    timing: 'now',
    effectiveAt: start,
    prorationAt: start,
    credit: money(payment.creditMinor),
    charge: money(payment.creditMinor + payment.amountMinor),
    due: money(payment.amountMinor),
    period: { cycle: state.cycle, start: isSameInterval(state, target) ? state.currentPeriodStart! : start, end },
    nextCharge: await nextChargeAt(ctx, tx, state, target),
  };
}
