import { priceOnSale } from '../catalog/plans-on-sale.ts';
import type { EntityManager } from '../db/orm.ts';
import { BillingError } from '../lib/billing-error.ts';
import { requireNoDispute } from './dispute-rules.ts';
import { PaymentMethod } from '../payments/customer.ts';
import { minimumAmounts, type PaymentsContext } from '../payments/providers.ts';
import { outcomePending } from './extend-period.ts';
import { nextChargeAt } from './next-charge.ts';
import { findPaidSpan, type BoughtSpan } from './paid-span.ts';
import { quotePlanChange, type PlanChangeQuote, type TargetPrice } from './plan-change-quote.ts';
import { requireTransition } from './state-table.ts';
import type { SubscriptionState } from './subscription.ts';
import { findTargetPrices } from './target-price.ts';

/** How long what a preview said may be kept to. */
const prorationMaxAgeMinutes = 15;

export interface AskedPlanChange {
  readonly priceId: string;
  /** The instant on which the amounts are computed; undefined for now. */
  readonly prorationAt: Temporal.Instant | undefined;
}

export interface DecidedPlanChange {
  readonly target: TargetPrice;
  readonly quote: PlanChangeQuote;
  readonly paid: BoughtSpan | undefined;
}

/**
 * What a change of plan would be, under the subscription's lock: for preview and change alike. Throws
 * PAYMENT_OUTCOME_PENDING while money may be on its way or the renewal is due (T23), ILLEGAL_TRANSITION,
 * DISPUTE_OPEN, PLAN_NOT_FOUND, PRICE_NOT_ELIGIBLE, PRORATION_EXPIRED.
 */
export async function decidePlanChange(
  ctx: PaymentsContext,
  tx: EntityManager,
  state: SubscriptionState,
  asked: AskedPlanChange,
  now: Temporal.Instant,
): Promise<DecidedPlanChange> {
  requireTransition(state, 'change-plan-now');
  requireNoDispute(state);
  const isDue = Temporal.Instant.compare(state.currentPeriodEnd!, now) <= 0;
  if (state.openPaymentId !== null || isDue) throw outcomePending();
  const target = await requireEligible(tx, state, asked.priceId);
  const paid = await findPaidSpan(tx, state);
  const at = asked.prorationAt ?? now;
  const oldest = now.subtract({ minutes: prorationMaxAgeMinutes });
  const since = paid?.start ?? state.currentPeriodStart!;
  const isFresh = [oldest, since].every((from) => Temporal.Instant.compare(from, at) <= 0);
  if (!isFresh || Temporal.Instant.compare(at, now) > 0) {
    throw new BillingError('conflict', 'PRORATION_EXPIRED', 'the preview is too old; look at the change again');
  }
  const quote = quotePlanChange(state, target, paid, at, await minimumOf(ctx, tx, state));
  if (quote.timing === 'at-period-end') requireTransition(state, 'change-plan-at-period-end');
  return { target, quote: { ...quote, nextCharge: await nextChargeAt(ctx, tx, state, target) }, paid };
}

/** The least that the provider of the subscription's method charges. */
async function minimumOf(ctx: PaymentsContext, tx: EntityManager, state: SubscriptionState): Promise<bigint> {
  const { paymentMethodId: id, amount } = state;
  const method = id === null ? null : await tx.findOne(PaymentMethod, { id });
  return minimumAmounts(ctx)(method?.provider, amount.currencyCode);
}

/** The present price is one only where another is to come, which it then drops. */
async function requireEligible(tx: EntityManager, state: SubscriptionState, priceId: string): Promise<TargetPrice> {
  const isKept = priceId === state.priceId && state.scheduledPriceId !== null;
  const { plan } = isKept ? { plan: undefined } : await priceOnSale(tx, priceId);
  const target = (await findTargetPrices(tx, [priceId])).get(priceId)!;
  const obstacle = isKept ? undefined : obstacleOf(state, target, plan?.productLine);
  if (!obstacle) return target;
  throw new BillingError('invalid', 'PRICE_NOT_ELIGIBLE', obstacle[1], { metadata: { obstacle: obstacle[0] } });
}

function obstacleOf(
  state: SubscriptionState,
  target: TargetPrice,
  productLine: string | undefined,
): [code: string, text: string] | undefined {
  if (target.priceId === state.priceId) return ['SAME_PRICE', 'the subscription has this very price'];
  if (target.amount.currencyCode !== state.amount.currencyCode) return ['CURRENCY', 'the price is in another currency'];
  if (productLine !== state.productLine) return ['PRODUCT_LINE', 'the plan is of another product line'];
  return undefined;
}
