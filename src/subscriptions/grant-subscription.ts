import { sql } from 'kysely';
import { Price } from '../catalog/plan.ts';
import { businessNow } from '../db/clock.ts';
import type { EntityManager } from '../db/orm.ts';
import { recordAudit } from '../audit/record-audit.ts';
import { onceOrRehearsed } from '../identity/once-or-rehearsed.ts';
import { requestKey } from '../identity/once.ts';
import { BillingError } from '../lib/billing-error.ts';
import { newId } from '../lib/ids.ts';
import { auditChange } from './audit-change.ts';
import { extendPeriod } from './commands.ts';
import { outcomePending } from './extend-period.ts';
import { addDays, change } from './lifecycle.ts';
import { lockSubscriptions, snapshot, storeChanges, type SubscriptionsContext } from './subscription-rows.ts';
import { Subscription, type SubscriptionState } from './subscription.ts';

export interface GrantSubscriptionInput {
  requestId: string;
  userId: string;
  /** Of the plan that is given; the price says the currency that a later subscription would have. */
  priceId: string;
  /** 1 to 366. */
  days: number;
  reason: string;
  /** Only say what would be. */
  validateOnly?: boolean;
}

/**
 * T25: gives a plan for some days, without payment and without renewal. Where the viewer has an active subscription in
 * the same product line, that one gets the time instead. Throws PLAN_NOT_FOUND, PAYMENT_OUTCOME_PENDING, and
 * SUBSCRIPTION_EXISTS for one that is neither active nor ended (unpaid, in trial, or owing money).
 */
export async function grantSubscription(
  ctx: SubscriptionsContext,
  input: GrantSubscriptionInput,
): Promise<SubscriptionState> {
  const { requestId, validateOnly = false, ...asked } = input;
  const key = requestKey(ctx, 'GrantSubscription', requestId, asked);
  const granted = await onceOrRehearsed(ctx, key, validateOnly, async (tx) => {
    const now = await businessNow(tx);
    // The customer's row serializes this viewer's subscriptions, as in Subscribe.
    await sql`insert into customer (user_id, created_at) values (${input.userId}, ${now.toString()}) on conflict do nothing`.execute(
      tx.getKysely(),
    );
    await sql`select 1 from customer where user_id = ${input.userId} for update`.execute(tx.getKysely());
    const price = await tx.findOne(Price, { id: input.priceId }, { populate: ['plan'] });
    if (!price) throw new BillingError('not-found', 'PLAN_NOT_FOUND', 'no such plan');
    const { productLine } = price.plan;
    const open = await tx.findOne(Subscription, { userId: input.userId, productLine, endedAt: null });
    return open ? extendOpen(ctx, tx, open.id, input, now) : give(ctx, tx, price, input, now);
  });
  ctx.wake('relay');
  return granted;
}

async function extendOpen(
  ctx: SubscriptionsContext,
  tx: EntityManager,
  subscriptionId: string,
  input: GrantSubscriptionInput,
  now: Temporal.Instant,
): Promise<SubscriptionState> {
  const state = (await lockSubscriptions(tx, [subscriptionId])).get(subscriptionId)!;
  if (state.status !== 'ACTIVE') {
    throw new BillingError('exists', 'SUBSCRIPTION_EXISTS', 'the viewer has an open subscription already', {
      metadata: { subscription_id: state.id, product_line: state.productLine, status: state.status },
    });
  }
  if (state.openPaymentId !== null) throw outcomePending();
  const extended = extendPeriod(state, input.days, input.reason);
  await storeChanges(ctx, tx, [extended], now);
  await auditChange(ctx, tx, 'GrantSubscription', extended, now);
  return extended.after;
}

async function give(
  ctx: SubscriptionsContext,
  tx: EntityManager,
  price: Price,
  input: GrantSubscriptionInput,
  now: Temporal.Instant,
): Promise<SubscriptionState> {
  const end = addDays(now, input.days, ctx.billingTimeZone);
  const subscription = tx.create(Subscription, {
    id: newId(),
    userId: input.userId,
    plan: price.plan,
    price,
    productLine: price.plan.productLine,
    status: 'ACTIVE',
    billingTimeZone: ctx.billingTimeZone,
    anchorAt: now,
    currentPeriodStart: now,
    currentPeriodEnd: end,
    cancelAtPeriodEnd: true,
    complimentary: true,
    nextTransitionAt: end,
    createdAt: now,
  });
  await tx.flush();
  const state = (await lockSubscriptions(tx, [subscription.id])).get(subscription.id)!;
  // Nothing was before it: the history begins with this line.
  await storeChanges(ctx, tx, [change(state, state, 'GIVEN', input.reason, 'GRANTED')], now);
  const given = { action: 'GrantSubscription', targetKind: 'subscription', before: undefined } as const;
  const { userId, reason } = input;
  await recordAudit(ctx, tx, { ...given, targetId: state.id, userId, reason, after: snapshot(state) }, now);
  return state;
}
