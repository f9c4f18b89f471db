import { businessNow } from '../db/clock.ts';
import { inTransaction, type EntityManager } from '../db/orm.ts';
import { BillingError } from '../lib/billing-error.ts';
import { findOpenAttempt, voidUnsentPayments, type AttemptRow } from '../payments/attempt-rows.ts';
import { callProvider, type CallOutcome } from '../payments/call-provider.ts';
import { providerOf, type PaymentsContext } from '../payments/providers.ts';
import { expire, type SubscriptionChange } from './lifecycle.ts';
import { settlePayments } from './settle-payment.ts';
import { lockSubscriptions, storeChanges, type SubscriptionsContext } from './subscription-rows.ts';
import { Subscription } from './subscription.ts';

/** What is written in the transaction in which the subscription ends. */
export type AlsoAtTheEnd = (tx: EntityManager, change: SubscriptionChange, now: Temporal.Instant) => Promise<void>;

/**
 * T4: ends an unpaid subscription. The page is killed at the provider first, so that no money can come through it
 * afterwards; where it came just before, the subscription becomes active instead. Throws PROVIDER_UNAVAILABLE while the
 * provider does not confirm, and PAYMENT_IN_PROGRESS while the page is being opened.
 */
export async function endCheckout(
  ctx: SubscriptionsContext & PaymentsContext,
  subscriptionId: string,
  reason: string,
  alsoInTx?: AlsoAtTheEnd,
): Promise<void> {
  const em = ctx.em.fork();
  const subscription = await em.findOneOrFail(Subscription, { id: subscriptionId });
  if (subscription.status !== 'INCOMPLETE') return;
  const attempt = await findOpenAttempt(em, subscription.openPaymentId!);
  if (!attempt) return expireUnpaid(ctx, subscriptionId, reason, alsoInTx);
  if (attempt.state === 'SENT' && attempt.leased) throw paymentInProgress();
  const outcome = await killPage(ctx, attempt);
  if (outcome.kind !== 'dead' && outcome.kind !== 'succeeded' && outcome.kind !== 'method saved') {
    throw new BillingError('unavailable', 'PROVIDER_UNAVAILABLE', 'the payment system does not answer; try again', {
      cause: outcome,
      retryDelayMs: 1_000,
    });
  }
  const [result] = await settlePayments(ctx, [
    {
      attemptId: attempt.id,
      outcome,
      reason,
      alsoInTx: async (tx, { changes }, now) => {
        const ended = changes?.find(({ after }) => after.status === 'INCOMPLETE_EXPIRED');
        if (ended) await alsoInTx?.(tx, ended, now);
      },
    },
  ]);
  // Another amount came through the page than was owed: a person looks at the money, the subscription is over.
  if (result === 'mismatch') return expireUnpaid(ctx, subscriptionId, reason, alsoInTx);
  if (result === 'open' || result === 'failed') throw paymentInProgress();
}

function paymentInProgress(): BillingError {
  return new BillingError('conflict', 'PAYMENT_IN_PROGRESS', 'the payment is being prepared; try again', {
    retryDelayMs: 1_000,
  });
}

/** A page that the provider never told us of is known to nobody and cannot be paid. */
async function killPage(ctx: PaymentsContext, attempt: AttemptRow): Promise<CallOutcome> {
  return callProvider(async () => {
    const provider = providerOf(ctx, attempt);
    const known = attempt.providerPaymentId ?? (await provider.lookUp({ reference: attempt.id }))?.providerPaymentId;
    return known === undefined ? { kind: 'dead' } : provider.expireCheckout(known);
  });
}

/** The last attempt was declined and nobody tried another method; or what came through it has to be looked at. */
async function expireUnpaid(
  ctx: SubscriptionsContext,
  subscriptionId: string,
  reason: string,
  alsoInTx: AlsoAtTheEnd | undefined,
): Promise<void> {
  await inTransaction(ctx.em, async (tx) => {
    const subscription = (await lockSubscriptions(tx, [subscriptionId])).get(subscriptionId)!;
    if (subscription.status !== 'INCOMPLETE') return;
    const now = await businessNow(tx);
    await voidUnsentPayments(tx, [subscriptionId], now);
    const change = expire(subscription, reason, now);
    await storeChanges(ctx, tx, [change], now);
    await alsoInTx?.(tx, change, now);
  });
}
