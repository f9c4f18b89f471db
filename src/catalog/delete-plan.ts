import { sql } from 'kysely';
import type { CallContext } from '../identity/call-context.ts';
import { BillingError } from '../lib/billing-error.ts';
import { changePlan, type PlanChangeInput } from './change-plan.ts';

/**
 * Removes a plan that nobody ever subscribed to, or wanted to change to. A Subscribe under way holds the plan's row by its foreign key, so
 * either it sees no plan or we see its subscription. Throws PLAN_NOT_FOUND, ETAG_MISMATCH, PLAN_IN_USE.
 */
export async function deletePlan(ctx: CallContext, input: PlanChangeInput): Promise<void> {
  await changePlan(ctx, 'DeletePlan', input, async (tx, before) => {
    if (before.subscriptions > 0) {
      throw new BillingError('wrong-state', 'PLAN_IN_USE', 'somebody subscribed to this plan; archive it instead', {
        metadata: { subscriptions: String(before.subscriptions), open: String(before.openSubscriptions) },
      });
    }
    const { rows } = await sql<{ used: boolean }>`
      select exists (select from subscription s join price on price.id = s.scheduled_price_id
          where price.plan_id = ${input.planId})
        or exists (select from payment p join price on price.id = p.price_id where price.plan_id = ${input.planId}) as used
    `.execute(tx.getKysely());
    if (rows[0]!.used) {
      throw new BillingError('wrong-state', 'PLAN_IN_USE', 'somebody wants to change to this plan; archive it instead');
    }
    await sql`delete from price where plan_id = ${input.planId}`.execute(tx.getKysely());
    await sql`delete from plan where id = ${input.planId}`.execute(tx.getKysely());
    return {};
  });
}
