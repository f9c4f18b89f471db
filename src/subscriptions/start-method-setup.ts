import { businessNow } from '../db/clock.ts';
import { inTransaction, type EntityManager } from '../db/orm.ts';
import { answerRequest, beginRequest, releaseRequest, requestKey } from '../identity/once.ts';
import { newId } from '../lib/ids.ts';
import {
  attemptLeaseMs,
  findAttempts,
  findOpenAttempt,
  nextCheckAfter,
  type AttemptRow,
} from '../payments/attempt-rows.ts';
import { keepConsent, type Consent } from '../payments/keep-consent.ts';
import { PaymentMethod } from '../payments/customer.ts';
import { idempotencyKey, Payment, PaymentAttempt, type PaymentPurpose } from '../payments/payment.ts';
import type { PaymentProvider } from '../payments/provider.ts';
import { findProviderOf, providerForCurrency, type PaymentsContext } from '../payments/providers.ts';
import { openPage, storePage } from './checkout-page.ts';
import { requireVisible } from './find-subscription.ts';
import { requireTransition } from './state-table.ts';
import { lockSubscriptions, type SubscriptionsContext } from './subscription-rows.ts';
import type { SubscriptionState } from './subscription.ts';

export interface MethodSetup {
  readonly url: string;
  readonly expiresAt: Temporal.Instant;
}

export interface StartMethodSetupInput {
  requestId: string;
  subscriptionId: string;
  /** Empty for none. */
  returnUrl: string;
  /** To recurring payments; undefined where nobody told us. */
  consent?: Consent | undefined;
}

/**
 * Opens the page that saves another method for a subscription and takes no money (T13 follows when it is finished): two
 * transactions with the provider's call in between, as in Subscribe. Throws SUBSCRIPTION_NOT_FOUND, ILLEGAL_TRANSITION,
 * CURRENCY_NOT_TAKEN, PROVIDER_UNAVAILABLE, SUBSCRIPTION_CHANGED.
 */
export async function startMethodSetup(
  ctx: SubscriptionsContext & PaymentsContext,
  input: StartMethodSetupInput,
): Promise<MethodSetup> {
  const { requestId, ...asked } = input;
  const key = requestKey(ctx, 'StartPaymentMethodSetup', requestId, asked);
  const claim = await inTransaction(ctx.em, async (tx) => {
    const request = await beginRequest<MethodSetup>(tx, key);
    if (request.seen && request.answer) return request.answer;
    const { subscriptionId } = input;
    const state = requireVisible(ctx, (await lockSubscriptions(tx, [subscriptionId])).get(subscriptionId));
    requireTransition(state, 'change-method');
    const attempt = await claimSetup(ctx, tx, state, `setup:${requestId.toLowerCase()}`, input.returnUrl);
    if (input.consent) await keepConsent(tx, attempt.id, input.consent, await businessNow(tx));
    return attempt;
  });
  if ('url' in claim) return claim;
  try {
    const page = await openPage(ctx, claim);
    const answer = { url: page.url, expiresAt: page.expiresAt };
    return await storePage(ctx, claim, page, async (tx) => {
      await answerRequest(tx, key, answer);
      return answer;
    });
  } catch (error) {
    await releaseRequest(ctx, key);
    throw error;
  }
}

/** Written down once per request: whoever repeats the call after a crash goes on with the same attempt and key. */
async function claimSetup(
  ctx: SubscriptionsContext & PaymentsContext,
  tx: EntityManager,
  state: SubscriptionState,
  purpose: PaymentPurpose,
  returnUrl: string,
): Promise<AttemptRow> {
  const begun = await tx.findOne(Payment, { subscriptionId: state.id, purpose });
  const open = begun && (await findOpenAttempt(tx, begun.id));
  if (open) return open;
  const now = await businessNow(tx);
  const { currencyCode } = state.amount;
  const provider = await providerOfSubscription(ctx, tx, state);
  const payment = tx.create(Payment, {
    id: newId(),
    subscriptionId: state.id,
    userId: state.userId,
    purpose,
    amountMinor: 0n,
    currencyCode,
    status: 'PENDING',
    createdAt: now,
  });
  await tx.flush();
  const attempt = tx.create(PaymentAttempt, {
    id: newId(),
    paymentId: payment.id,
    subscriptionId: state.id,
    attemptNumber: 1,
    kind: 'checkout',
    idempotencyKey: idempotencyKey(payment.id, 1),
    provider: provider.name,
    merchantAccount: provider.merchantAccount,
    amountMinor: 0n,
    currencyCode,
    description: state.planCode,
    returnUrl,
    state: 'PENDING',
    leaseUntil: now,
    nextCheckAt: nextCheckAfter(0, now).add({ milliseconds: attemptLeaseMs }),
    createdAt: now,
  });
  await tx.flush();
  return (await findAttempts(tx, [attempt.id]))[0]!;
}

/** The one that has its present method, as long as it is configured; otherwise as a new customer. */
async function providerOfSubscription(
  ctx: PaymentsContext,
  tx: EntityManager,
  state: SubscriptionState,
): Promise<PaymentProvider> {
  const { paymentMethodId } = state;
  const method = paymentMethodId === null ? null : await tx.findOne(PaymentMethod, { id: paymentMethodId });
  return (method && findProviderOf(ctx, method)) ?? providerForCurrency(ctx, state.amount.currencyCode);
}
