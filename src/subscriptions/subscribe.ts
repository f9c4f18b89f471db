import { sql } from 'kysely';
import { priceOnSale } from '../catalog/plans-on-sale.ts';
import type { Price } from '../catalog/plan.ts';
import { businessNow } from '../db/clock.ts';
import { inTransaction, type EntityManager } from '../db/orm.ts';
import { answerRequest, beginRequest, releaseRequest, requestKey } from '../identity/once.ts';
import { BillingError } from '../lib/billing-error.ts';
import { newId } from '../lib/ids.ts';
import {
  attemptLeaseMs,
  findOpenAttempt,
  markSent,
  nextCheckAfter,
  type AttemptRow,
} from '../payments/attempt-rows.ts';
import { idempotencyKey, Payment, PaymentAttempt } from '../payments/payment.ts';
import type { CheckoutPage, PaymentProvider } from '../payments/provider.ts';
import { providerNamed, type PaymentsContext } from '../payments/providers.ts';
import { endCheckout } from './end-checkout.ts';
import { lockSubscriptions, snapshot, type SubscriptionsContext } from './subscription-rows.ts';
import { SubscriptionEvent } from './subscription-event.ts';
import { Subscription, type SubscriptionState } from './subscription.ts';

export type SubscribeContext = SubscriptionsContext & PaymentsContext;

export interface SubscribeInput {
  requestId: string;
  /** Checked against the actor. */
  userId: string;
  priceId: string;
  /** Empty for none. */
  returnUrl: string;
}

export interface SubscribeResult {
  subscription: SubscriptionState;
  checkout: { url: string; expiresAt: Temporal.Instant };
}

/** What the first transaction found or made. */
type Claim =
  | { kind: 'answered'; answer: SubscribeResult }
  /** A checkout to open, or a page that may still be live. */
  | { kind: 'checkout'; attempt: AttemptRow }
  /** An unpaid subscription to another price stands in the way. */
  | { kind: 'replace'; subscriptionId: string };

const replacementsMax = 3;

/**
 * T1: takes out a subscription. The first transaction writes subscription, payment and attempt; the provider's page is
 * opened outside of any; the second transaction stores the page and the answer. Whoever repeats the call after a crash
 * in between continues the same attempt under the same key.
 *
 * Throws PLAN_NOT_FOUND, SUBSCRIPTION_EXISTS, PROVIDER_UNAVAILABLE, REQUEST_ID_REUSED, REQUEST_IN_PROGRESS.
 */
export async function subscribe(ctx: SubscribeContext, input: SubscribeInput): Promise<SubscribeResult> {
  const { requestId, ...asked } = input;
  const key = requestKey(ctx, 'Subscribe', requestId, asked);
  const provider = providerNamed(ctx, ctx.defaultProvider);
  let seen = false;
  try {
    for (let round = 0; round < replacementsMax; round++) {
      const claim: Claim = await inTransaction(ctx.em, async (tx) => {
        if (!seen) {
          const state = await beginRequest<SubscribeResult>(tx, key);
          if (state.seen && state.answer) return { kind: 'answered', answer: state.answer };
        }
        return claimCheckout(ctx, tx, input, provider);
      });
      if (claim.kind === 'answered') return claim.answer;
      seen = true;
      if (claim.kind === 'checkout') {
        const page = await openCheckout(ctx, claim.attempt, provider);
        return await storeAnswer(ctx, claim.attempt, page, (tx, answer) => answerRequest(tx, key, answer));
      }
      await endCheckout(ctx, claim.subscriptionId, 'REPLACED');
    }
    throw subscriptionChanged();
  } catch (error) {
    if (seen) await releaseRequest(ctx, key);
    throw error;
  }
}

async function claimCheckout(
  ctx: SubscribeContext,
  tx: EntityManager,
  input: SubscribeInput,
  provider: PaymentProvider,
): Promise<Claim> {
  const now = await businessNow(tx);
  // The customer's row serializes this viewer's calls, so that two at once find one another's subscription.
  await sql`insert into customer (user_id, created_at) values (${input.userId}, ${now.toString()}) on conflict do nothing`.execute(
    tx.getKysely(),
  );
  await sql`select 1 from customer where user_id = ${input.userId} for update`.execute(tx.getKysely());
  const price = await priceOnSale(tx, input.priceId);
  const open = await tx.findOne(Subscription, {
    userId: input.userId,
    productLine: price.plan.productLine,
    endedAt: null,
  });
  if (!open) return { kind: 'checkout', attempt: await createSubscription(ctx, tx, input, price, provider, now) };
  if (open.status !== 'INCOMPLETE') {
    throw new BillingError('exists', 'SUBSCRIPTION_EXISTS', 'the viewer has an open subscription already', {
      metadata: { subscription_id: open.id, product_line: open.productLine },
    });
  }
  // Not `nextTransitionAt`: that one moves on while the provider does not confirm the end of the page.
  const endsAt = open.createdAt.add({ milliseconds: provider.capabilities.checkoutTtlMs });
  const over = Temporal.Instant.compare(endsAt, now) <= 0;
  if (open.price.id !== price.id || over) return { kind: 'replace', subscriptionId: open.id };
  const attempt = await findOpenAttempt(tx, open.openPaymentId!);
  // T3: the method was declined for good; another one may be tried, as a new attempt of the same payment.
  return { kind: 'checkout', attempt: attempt ?? (await addCheckout(tx, open, price, input, provider, now)) };
}

async function createSubscription(
  ctx: SubscribeContext,
  tx: EntityManager,
  input: SubscribeInput,
  price: Price,
  provider: PaymentProvider,
  now: Temporal.Instant,
): Promise<AttemptRow> {
  const { plan, amountMinor, currencyCode } = price;
  const payment = tx.create(Payment, {
    id: newId(),
    subscriptionId: newId(),
    userId: input.userId,
    purpose: 'initial',
    amountMinor,
    currencyCode,
    status: 'PENDING',
    createdAt: now,
  });
  const subscription = tx.create(Subscription, {
    id: payment.subscriptionId,
    userId: input.userId,
    plan,
    price,
    productLine: plan.productLine,
    status: 'INCOMPLETE',
    billingTimeZone: ctx.billingTimeZone,
    openPaymentId: payment.id,
    nextTransitionAt: now.add({ milliseconds: provider.capabilities.checkoutTtlMs }),
    createdAt: now,
  });
  tx.create(SubscriptionEvent, {
    id: newId(),
    subscriptionId: subscription.id,
    userId: input.userId,
    kind: 'SUBSCRIBED',
    actorKind: ctx.actor.kind,
    actorId: ctx.actor.id,
    reason: 'SUBSCRIBED',
    after: snapshot(subscription),
    occurredAt: now,
  });
  await tx.flush();
  return addCheckout(tx, subscription, price, input, provider, now);
}

async function addCheckout(
  tx: EntityManager,
  subscription: Subscription,
  price: Price,
  input: SubscribeInput,
  provider: PaymentProvider,
  now: Temporal.Instant,
): Promise<AttemptRow> {
  const paymentId = subscription.openPaymentId!;
  const attemptNumber = 1 + (await tx.count(PaymentAttempt, { paymentId }));
  tx.create(PaymentAttempt, {
    id: newId(),
    paymentId,
    subscriptionId: subscription.id,
    attemptNumber,
    kind: 'checkout',
    idempotencyKey: idempotencyKey(paymentId, attemptNumber),
    provider: provider.name,
    merchantAccount: provider.merchantAccount,
    amountMinor: price.amountMinor,
    currencyCode: price.currencyCode,
    description: price.plan.name,
    returnUrl: input.returnUrl,
    state: 'PENDING',
    leaseUntil: Temporal.Now.instant().add({ milliseconds: attemptLeaseMs }),
    nextCheckAt: nextCheckAfter(0, now),
    createdAt: now,
  });
  await tx.flush();
  return (await findOpenAttempt(tx, paymentId))!;
}

function subscriptionChanged(): BillingError {
  return new BillingError('conflict', 'SUBSCRIPTION_CHANGED', 'the subscription changed meanwhile; ask again', {
    retryDelayMs: 1_000,
  });
}

/** Opens the page; the same key gives the live page again. */
async function openCheckout(
  ctx: SubscribeContext,
  attempt: AttemptRow,
  provider: PaymentProvider,
): Promise<CheckoutPage> {
  if (attempt.state !== 'WAITING') {
    const sendable = await markSent(ctx.em.fork(), [attempt]);
    if (!sendable.has(attempt.id)) throw subscriptionChanged();
  }
  try {
    return await provider.startCheckout({
      idempotencyKey: attempt.idempotencyKey,
      reference: attempt.id,
      amount: attempt.amount,
      customerReference: attempt.userId,
      description: attempt.description,
      returnUrl: attempt.returnUrl,
    });
  } catch (cause) {
    ctx.log.warn({ err: cause, attempt: attempt.id, provider: provider.name }, 'checkout was not opened');
    throw new BillingError('unavailable', 'PROVIDER_UNAVAILABLE', 'the payment system does not answer; try again', {
      cause,
      retryDelayMs: 1_000,
    });
  }
}

async function storeAnswer(
  ctx: SubscribeContext,
  attempt: AttemptRow,
  page: CheckoutPage,
  answerIn: (tx: EntityManager, answer: SubscribeResult) => Promise<void>,
): Promise<SubscribeResult> {
  return inTransaction(ctx.em, async (tx) => {
    const subscription = (await lockSubscriptions(tx, [attempt.subscriptionId])).get(attempt.subscriptionId)!;
    if (subscription.endedAt !== null) throw subscriptionChanged();
    // The notice may have been faster than our own call: then the attempt is decided and stays so.
    await sql`
      update payment_attempt set state = 'WAITING', provider_payment_id = ${page.providerPaymentId},
        checkout_url = ${page.url}, checkout_expires_at = ${page.expiresAt.toString()}, lease_until = clock_timestamp()
      where id = ${attempt.id} and state in ('PENDING', 'SENT', 'UNKNOWN', 'WAITING')
    `.execute(tx.getKysely());
    const answer = { subscription, checkout: { url: page.url, expiresAt: page.expiresAt } };
    await answerIn(tx, answer);
    return answer;
  });
}
