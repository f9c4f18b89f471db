import { sql } from 'kysely';
import { inTransaction, type EntityManager } from '../db/orm.ts';
import { BillingError } from '../lib/billing-error.ts';
import { markSent, type AttemptRow } from '../payments/attempt-rows.ts';
import type { CheckoutPage } from '../payments/provider.ts';
import { freezeReceipt } from '../payments/receipts.ts';
import { providerOf, type PaymentsContext } from '../payments/providers.ts';
import { lockSubscriptions, type SubscriptionsContext } from './subscription-rows.ts';
import type { SubscriptionState } from './subscription.ts';

/** Another call was faster: what was about to be done has lost its sense. */
export function subscriptionChanged(): BillingError {
  return new BillingError('conflict', 'SUBSCRIPTION_CHANGED', 'the subscription changed meanwhile; ask again', {
    retryDelayMs: 1_000,
  });
}

/**
 * Opens the provider's page of an attempt, outside any transaction; the same key gives the live page again. Throws
 * SUBSCRIPTION_CHANGED, PROVIDER_UNAVAILABLE.
 */
export async function openPage(ctx: PaymentsContext, attempt: AttemptRow): Promise<CheckoutPage> {
  if (attempt.state !== 'WAITING') {
    const sendable = await inTransaction(ctx.em, (tx) => markSent(tx, [attempt]));
    if (!sendable.has(attempt.id)) throw subscriptionChanged();
  }
  try {
    const provider = providerOf(ctx, attempt);
    const isSetup = attempt.amount.amountMinor === 0n;
    return await provider.startCheckout({
      receipt: isSetup ? undefined : await freezeReceipt(ctx.em, provider, { attemptId: attempt.id }),
      mode: isSetup ? 'setup' : 'payment',
      idempotencyKey: attempt.idempotencyKey,
      reference: attempt.id,
      amount: attempt.amount,
      customerReference: attempt.userId,
      description: attempt.description,
      returnUrl: attempt.returnUrl,
    });
  } catch (cause) {
    ctx.log.warn({ err: cause, attempt: attempt.id, provider: attempt.provider }, 'checkout was not opened');
    throw new BillingError('unavailable', 'PROVIDER_UNAVAILABLE', 'the payment system does not answer; try again', {
      cause,
      retryDelayMs: 1_000,
    });
  }
}

/** Stores the page with its attempt, and the answer to the call with `answerIn`, in one transaction. */
export async function storePage<Answer>(
  ctx: SubscriptionsContext,
  attempt: AttemptRow,
  page: CheckoutPage,
  answerIn: (tx: EntityManager, subscription: SubscriptionState) => Promise<Answer>,
): Promise<Answer> {
  return inTransaction(ctx.em, async (tx) => {
    const subscription = (await lockSubscriptions(tx, [attempt.subscriptionId])).get(attempt.subscriptionId)!;
    if (subscription.endedAt !== null) throw subscriptionChanged();
    // The notice may have been faster than our own call: then the attempt is decided and stays so.
    await sql`
      update payment_attempt set state = 'WAITING', provider_payment_id = ${page.providerPaymentId},
        checkout_url = ${page.url}, checkout_expires_at = ${page.expiresAt.toString()}, lease_until = clock_timestamp()
      where id = ${attempt.id} and state in ('PENDING', 'SENT', 'UNKNOWN', 'WAITING')
    `.execute(tx.getKysely());
    return answerIn(tx, subscription);
  });
}
