import type { EntityManager } from '../db/orm.ts';
import type { CallContext } from '../identity/call-context.ts';
import { BillingError } from '../lib/billing-error.ts';
import { Plan, Price } from './plan.ts';

/** The plans on sale with their prices, cheapest first; with a currency, only what is sold in it. */
export async function listPlans(ctx: CallContext, input: { currencyCode?: string | undefined }): Promise<Plan[]> {
  const plans = await ctx.em.fork().find(Plan, { archivedAt: null }, { populate: ['prices'] });
  return plans
    .map((plan) => ({ plan, prices: pricesOf(plan, input.currencyCode) }))
    .filter(({ prices }) => prices.length > 0)
    .sort((a, b) => compareBigint(a.prices[0]!.amountMinor, b.prices[0]!.amountMinor))
    .map(({ plan, prices }) => {
      plan.prices.hydrate(prices);
      return plan;
    });
}

/** One plan on sale. Throws PLAN_NOT_FOUND. */
export async function getPlan(ctx: CallContext, input: { code: string }): Promise<Plan> {
  const plan = await ctx.em.fork().findOne(Plan, { code: input.code, archivedAt: null }, { populate: ['prices'] });
  if (!plan) throw planNotFound();
  plan.prices.hydrate(pricesOf(plan, undefined));
  return plan;
}

/** A price that can be taken out now, with its plan loaded. Throws PLAN_NOT_FOUND. */
export async function priceOnSale(tx: EntityManager, priceId: string): Promise<Price> {
  const price = await tx.findOne(Price, { id: priceId, plan: { archivedAt: null } }, { populate: ['plan'] });
  if (!price) throw planNotFound();
  return price;
}

function planNotFound(): BillingError {
  return new BillingError('not-found', 'PLAN_NOT_FOUND', 'no such plan is on sale');
}

function pricesOf(plan: Plan, currencyCode: string | undefined): Price[] {
  return plan.prices
    .getItems()
    .filter((price) => currencyCode === undefined || price.currencyCode === currencyCode)
    .sort((a, b) => compareBigint(a.amountMinor, b.amountMinor));
}

function compareBigint(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
