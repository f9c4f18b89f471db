import { sql } from 'kysely';
import { priceOnSale } from '../catalog/plans-on-sale.ts';
import type { Price } from '../catalog/plan.ts';
import { businessNow } from '../db/clock.ts';
import { inTransaction, type EntityManager } from '../db/orm.ts';
import { rehearse } from '../db/rehearse.ts';
import { answerRequest, beginRequest, releaseRequest, requestKey } from '../identity/once.ts';
import { BillingError } from '../lib/billing-error.ts';
import { newId } from '../lib/ids.ts';
import type { Money } from '../lib/money.ts';
import { attemptLeaseMs, findOpenAttempt, nextCheckAfter, type AttemptRow } from '../payments/attempt-rows.ts';
import { idempotencyKey, Payment, PaymentAttempt } from '../payments/payment.ts';
import type { PaymentProvider } from '../payments/provider.ts';
import { providerForCurrency, type PaymentsContext } from '../payments/providers.ts';
import { keepConsent, type Consent } from '../payments/keep-consent.ts';
import { keepContact, requireContact } from '../payments/receipts.ts';
import { codeOfSubscription, requireRedeemable, storeRedemption, type Redeemable } from '../promotions/redeem.ts';
import { openPage, storePage, subscriptionChanged } from './checkout-page.ts';
import { endCheckout } from './end-checkout.ts';
import { snapshot, type SubscriptionsContext } from './subscription-rows.ts';
import { SubscriptionEvent } from './subscription-event.ts';
import { Subscription, type SubscriptionState } from './subscription.ts';
import { hadTrial, trialNotAvailable } from './trials.ts';

export type SubscribeContext = SubscriptionsContext & PaymentsContext;

export interface SubscribeInput {
  requestId: string;
  /** Checked against the actor. */
  userId: string;
  priceId: string;
  /** Empty for none. */
  returnUrl: string;
  /** Begin with the plan's trial: the page only saves the method. */
  withTrial: boolean;
  /** What takes something off, as the viewer typed it; empty for none. */
  promoCode: string;
  /** Where receipts go; empty to keep what is known, or else to take the address that the viewer's token names. */
  email: string;
  /** To recurring payments; undefined where nobody told us. */
  consent?: Consent | undefined;
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
 * Throws PLAN_NOT_FOUND, CURRENCY_NOT_TAKEN, CONTACT_REQUIRED, SUBSCRIPTION_EXISTS, TRIAL_NOT_AVAILABLE,
 * PROMO_CODE_NOT_FOUND, PROMO_CODE_NOT_APPLICABLE, PROVIDER_UNAVAILABLE, REQUEST_ID_REUSED, REQUEST_IN_PROGRESS.
 */
export async function subscribe(ctx: SubscribeContext, input: SubscribeInput): Promise<SubscribeResult> {
  const { requestId, ...asked } = input;
  const key = requestKey(ctx, 'Subscribe', requestId, asked);
  let seen = false;
  try {
    for (let round = 0; round < replacementsMax; round++) {
      const claim: Claim = await inTransaction(ctx.em, async (tx) => {
        if (!seen) {
          const state = await beginRequest<SubscribeResult>(tx, key);
          if (state.seen && state.answer) return { kind: 'answered', answer: state.answer };
        }
        const found = await claimCheckout(ctx, tx, input);
        if (found.kind === 'checkout' && input.consent) {
          await keepConsent(tx, found.attempt.id, input.consent, await businessNow(tx));
        }
        return found;
      });
      if (claim.kind === 'answered') return claim.answer;
      seen = true;
      if (claim.kind === 'checkout') {
        const page = await openPage(ctx, claim.attempt);
        return await storePage(ctx, claim.attempt, page, async (tx, subscription) => {
          const answer = { subscription, checkout: { url: page.url, expiresAt: page.expiresAt } };
          await answerRequest(tx, key, answer);
          return answer;
        });
      }
      await endCheckout(ctx, claim.subscriptionId, 'REPLACED');
    }
    throw subscriptionChanged();
  } catch (error) {
    if (seen) await releaseRequest(ctx, key);
    throw error;
  }
}

async function claimCheckout(ctx: SubscribeContext, tx: EntityManager, input: SubscribeInput): Promise<Claim> {
  const now = await businessNow(tx);
  // The customer's row serializes this viewer's calls, so that two at once find one another's subscription.
  await sql`insert into customer (user_id, created_at) values (${input.userId}, ${now.toString()}) on conflict do nothing`.execute(
    tx.getKysely(),
  );
  await sql`select 1 from customer where user_id = ${input.userId} for update`.execute(tx.getKysely());
  const price = await priceOnSale(tx, input.priceId);
  const provider = providerForCurrency(ctx, price.currencyCode);
  if (input.email !== '') await keepContact(tx, input, now);
  else if (ctx.actor.kind === 'customer' && ctx.actor.email !== undefined) {
    await keepContact(tx, { userId: input.userId, email: ctx.actor.email, isGuess: true }, now);
  }
  await requireContact(tx, provider, input.userId);
  const { productLine, trialDays } = price.plan;
  const { userId } = input;
  if (input.withTrial && (trialDays === 0 || (await hadTrial(ctx, tx, { userId, productLine })))) {
    throw trialNotAvailable();
  }
  const open = await tx.findOne(Subscription, {
    userId,
    productLine,
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
  const payment = await tx.findOneOrFail(Payment, { id: open.openPaymentId! });
  const sameCode = ((await codeOfSubscription(tx, open.id)) ?? '') === input.promoCode.toUpperCase();
  const same = open.price.id === price.id && sameCode && (payment.amountMinor === 0n) === input.withTrial;
  if (!same || over) return { kind: 'replace', subscriptionId: open.id };
  const attempt = await findOpenAttempt(tx, open.openPaymentId!);
  // T3: the method was declined for good; another one may be tried, as a new attempt of the same payment.
  return { kind: 'checkout', attempt: attempt ?? (await addCheckout(tx, payment, price, input, provider, now)) };
}

async function createSubscription(
  ctx: SubscribeContext,
  tx: EntityManager,
  input: SubscribeInput,
  price: Price,
  provider: PaymentProvider,
  now: Temporal.Instant,
): Promise<AttemptRow> {
  const { plan, currencyCode } = price;
  const discount = input.promoCode === '' ? undefined : await requireDiscount(tx, input, price, provider);
  const payment = tx.create(Payment, {
    id: newId(),
    subscriptionId: newId(),
    userId: input.userId,
    purpose: 'initial',
    // A trial begins with a page that takes nothing; the discount is for the cycles after it.
    amountMinor: input.withTrial ? 0n : price.amountMinor - (discount?.discountMinor ?? 0n),
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
  if (discount) {
    const { id: subscriptionId, userId } = subscription;
    const paymentId = input.withTrial ? undefined : payment.id;
    await storeRedemption(tx, discount, { subscriptionId, userId, paymentId }, now);
  }
  return addCheckout(tx, payment, price, input, provider, now);
}

function requireDiscount(
  tx: EntityManager,
  { promoCode, userId }: Pick<SubscribeInput, 'promoCode' | 'userId'>,
  { plan, amountMinor, currencyCode }: Price,
  { capabilities }: PaymentProvider,
): Promise<Redeemable> {
  return requireRedeemable(tx, {
    code: promoCode,
    userId,
    price: { planId: plan.id, amount: { currencyCode, amountMinor } },
    minimumMinor: capabilities.minimumAmountMinor(currencyCode),
  });
}

async function addCheckout(
  tx: EntityManager,
  payment: Payment,
  price: Price,
  input: SubscribeInput,
  provider: PaymentProvider,
  now: Temporal.Instant,
): Promise<AttemptRow> {
  const paymentId = payment.id;
  const attemptNumber = 1 + (await tx.count(PaymentAttempt, { paymentId }));
  tx.create(PaymentAttempt, {
    id: newId(),
    paymentId,
    subscriptionId: payment.subscriptionId,
    attemptNumber,
    kind: 'checkout',
    idempotencyKey: idempotencyKey(paymentId, attemptNumber),
    provider: provider.name,
    merchantAccount: provider.merchantAccount,
    amountMinor: payment.amountMinor,
    currencyCode: payment.currencyCode,
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

/** What a price costs a viewer at first. */
export interface SubscribeQuote {
  readonly price: Money;
  readonly discount: Redeemable | undefined;
}

/**
 * What `subscribe` would charge for each of the first cycles, by the same rules; nothing is written. Throws PLAN_NOT_FOUND,
 * CURRENCY_NOT_TAKEN, PROMO_CODE_NOT_FOUND, PROMO_CODE_NOT_APPLICABLE.
 */
export async function previewSubscribe(
  ctx: PaymentsContext,
  input: Pick<SubscribeInput, 'userId' | 'priceId' | 'promoCode'>,
): Promise<SubscribeQuote> {
  return rehearse(ctx.em, async (tx) => {
    const price = await priceOnSale(tx, input.priceId);
    const { currencyCode, amountMinor } = price;
    const provider = providerForCurrency(ctx, currencyCode);
    const discount = input.promoCode === '' ? undefined : await requireDiscount(tx, input, price, provider);
    return { price: { currencyCode, amountMinor }, discount };
  });
}
