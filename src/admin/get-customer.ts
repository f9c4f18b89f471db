import { sql } from 'kysely';
import { businessNow } from '../db/clock.ts';
import type { EntityManager } from '../db/orm.ts';
import { Entitlement } from '../entitlements/entitlement.ts';
import { BillingError } from '../lib/billing-error.ts';
import type { Money } from '../lib/money.ts';
import { Customer, PaymentMethod } from '../payments/customer.ts';
import { Payment } from '../payments/payment.ts';
import type { PaymentsContext } from '../payments/providers.ts';
import { nextCharges } from '../subscriptions/next-charge.ts';
import { nextPriceId } from '../subscriptions/plan-change.ts';
import { Subscription, type SubscriptionState } from '../subscriptions/subscription.ts';
import { findTargetPrices } from '../subscriptions/target-price.ts';

const rowsMax = 100;

export type AccessReason =
  | 'PAID'
  | 'TRIAL'
  | 'GRACE'
  | 'COMPLIMENTARY'
  | 'ENDS_WITH_PERIOD'
  | 'NOT_PAID_YET'
  | 'GRACE_OVER'
  | 'ENDED'
  | 'LEASE_OVER';

/** The newest subscription of a product line, as an answer: access until when and why, and what is charged next. */
export interface ProductLineAccess {
  readonly subscription: SubscriptionState;
  readonly hasAccess: boolean;
  readonly accessUntil: Temporal.Instant | null;
  readonly reason: AccessReason;
  readonly method: PaymentMethod | undefined;
  /** What the next charge takes: what is owed already, or the price to come less what a promo code takes off. */
  readonly nextAmount: Money;
}

export interface CustomerRecord {
  readonly userId: string;
  readonly createdAt: Temporal.Instant;
  readonly access: readonly ProductLineAccess[];
  /** Newest first. */
  readonly subscriptions: readonly SubscriptionState[];
  readonly methods: readonly PaymentMethod[];
  readonly entitlementVersion: bigint;
  /** What the broker has confirmed. */
  readonly publishedVersion: bigint;
}

/** Whoever ever subscribed. Throws CUSTOMER_NOT_FOUND. */
export async function requireCustomer(em: EntityManager, userId: string): Promise<Customer> {
  const customer = await em.findOne(Customer, { userId });
  if (!customer) throw new BillingError('not-found', 'CUSTOMER_NOT_FOUND', 'nobody with this id ever subscribed');
  return customer;
}

/** A customer's page. Throws CUSTOMER_NOT_FOUND. */
export async function getCustomer(ctx: PaymentsContext, { userId }: { userId: string }): Promise<CustomerRecord> {
  const em = ctx.em.fork();
  const { createdAt } = await requireCustomer(em, userId);
  const newestFirst = { orderBy: { createdAt: 'desc', id: 'desc' }, limit: rowsMax } as const;
  const subscriptions = await em.find(Subscription, { userId }, { ...newestFirst, populate: ['plan', 'price'] });
  const methods = await em.find(PaymentMethod, { userId, detachedAt: null }, newestFirst);
  const entitlement = await em.findOne(Entitlement, { userId });
  const following = await findTargetPrices(
    em,
    subscriptions.flatMap((state) => nextPriceId(state) ?? []),
  );
  const current = subscriptions.map((state) => {
    const { planCode, amount } = following.get(nextPriceId(state) ?? '') ?? state;
    return { id: state.id, paymentMethodId: state.paymentMethodId, planCode, amount };
  });
  const next = new Map([...(await nextCharges(ctx, em, current)), ...(await findOwed(em, subscriptions))]);
  const now = await businessNow(em);
  const newest = new Map<string, SubscriptionState>();
  for (const state of subscriptions) if (!newest.has(state.productLine)) newest.set(state.productLine, state);
  return {
    userId,
    createdAt,
    subscriptions,
    methods,
    access: [...newest.values()].map((state) => ({
      ...accessOf(state, entitlement, methods, now),
      nextAmount: next.get(state.id)!,
    })),
    entitlementVersion: entitlement?.version ?? 0n,
    publishedVersion: entitlement ? await publishedVersion(em, userId, entitlement.version) : 0n,
  };
}

/** A failed renewal is tried again for the amount that was frozen with it. */
async function findOwed(em: EntityManager, subscriptions: readonly SubscriptionState[]): Promise<Map<string, Money>> {
  const ids = subscriptions.filter(({ status }) => status === 'PAST_DUE').map(({ id }) => id);
  const owed = await em.find(Payment, {
    subscriptionId: { $in: ids },
    status: 'PENDING',
    purpose: { $like: 'cycle:%' },
  });
  return new Map(
    owed.map(({ subscriptionId, currencyCode, amountMinor }) => [subscriptionId, { currencyCode, amountMinor }]),
  );
}

function accessOf(
  subscription: SubscriptionState,
  entitlement: Entitlement | null,
  methods: readonly PaymentMethod[],
  now: Temporal.Instant,
): Omit<ProductLineAccess, 'nextAmount'> {
  const grant = entitlement?.grants.find(({ subscription_id }) => subscription_id === subscription.id);
  const accessUntil = grant ? Temporal.Instant.from(grant.access_until) : null;
  const hasAccess = accessUntil !== null && Temporal.Instant.compare(now, accessUntil) < 0;
  const method = methods.find(({ id }) => id === subscription.paymentMethodId);
  return { subscription, hasAccess, accessUntil, reason: reasonOf(subscription, hasAccess), method };
}

function reasonOf(state: SubscriptionState, hasAccess: boolean): AccessReason {
  switch (state.status) {
    case 'INCOMPLETE':
      return 'NOT_PAID_YET';
    case 'INCOMPLETE_EXPIRED':
    case 'CANCELED':
      return 'ENDED';
    case 'PAST_DUE':
      return hasAccess ? 'GRACE' : 'GRACE_OVER';
    case 'TRIALING':
      return hasAccess ? 'TRIAL' : 'LEASE_OVER';
    case 'ACTIVE':
      if (!hasAccess) return 'LEASE_OVER';
      if (state.complimentary) return 'COMPLIMENTARY';
      return state.cancelAtPeriodEnd || state.renewalBlocked || state.paymentMethodId === null
        ? 'ENDS_WITH_PERIOD'
        : 'PAID';
  }
}

/** All versions up to it are with the broker: the one before the first that is not. */
async function publishedVersion(em: EntityManager, userId: string, version: bigint): Promise<bigint> {
  const { rows } = await sql<{ first: string | null }>`
    select min(version)::text as first from outbox_message where user_id = ${userId} and published_at is null
  `.execute(em.getKysely());
  const first = rows[0]!.first;
  return first === null ? version : BigInt(first) - 1n;
}
