import { sql } from 'kysely';
import { recordAudit } from '../audit/record-audit.ts';
import { businessNow } from '../db/clock.ts';
import type { CallContext } from '../identity/call-context.ts';
import { onceOrRehearsed } from '../identity/once-or-rehearsed.ts';
import { requestKey } from '../identity/once.ts';
import { BillingError } from '../lib/billing-error.ts';
import { newId } from '../lib/ids.ts';
import { checkPrices, insertPrices, type NewPrice } from './new-price.ts';
import { auditedPlan, readPlanViews, type PlanView } from './plan-view.ts';
import type { RefundPolicy } from './plan.ts';

export interface CreatePlanInput {
  requestId: string;
  reason: string;
  validateOnly: boolean;
  code: string;
  name: string;
  description: string;
  features: readonly string[];
  productLine: string;
  trialDays: number;
  refundPolicy: RefundPolicy;
  prices: readonly NewPrice[];
}

/**
 * Makes a plan, on sale at once. Throws PLAN_EXISTS for a code that is taken, also by an archived plan, and what
 * `checkPrices` throws.
 */
export async function createPlan(ctx: CallContext, input: CreatePlanInput): Promise<PlanView> {
  const { requestId, validateOnly, ...asked } = input;
  checkPrices(input.prices, []);
  const key = requestKey(ctx, 'CreatePlan', requestId, asked);
  const created = await onceOrRehearsed(ctx, key, validateOnly, async (tx) => {
    const now = await businessNow(tx);
    const id = newId();
    const { rows } = await sql`
      insert into plan (id, code, name, description, features, product_line, trial_days, refund_policy, created_at)
      values (${id}, ${input.code}, ${input.name}, ${input.description}, ${sortedFeatures(input.features)}::text[],
        ${input.productLine}, ${input.trialDays}, ${input.refundPolicy}, ${now.toString()})
      on conflict do nothing returning 1
    `.execute(tx.getKysely());
    if (rows.length === 0) throw new BillingError('exists', 'PLAN_EXISTS', 'a plan has this code already');
    await insertPrices(tx, id, input.prices, now);
    const [plan] = await readPlanViews(tx, [id]);
    const after = auditedPlan(plan!);
    const { reason } = input;
    const entry = { action: 'CreatePlan', targetKind: 'plan', targetId: id, reason, before: undefined, after } as const;
    await recordAudit(ctx, tx, entry, now);
    return plan!;
  });
  ctx.wake('plans');
  return created;
}

/** As they are kept: sorted, each once, so that the same set is the same list. */
export function sortedFeatures(features: readonly string[]): string[] {
  return [...new Set(features)].sort();
}
