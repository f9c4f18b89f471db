import { sql } from 'kysely';
import { cutPage, pageSizeOf, readPageToken, type PageRequest } from '../db/page.ts';
import type { CallContext } from '../identity/call-context.ts';
import { noSuchPlan } from './change-plan.ts';
import { readPlanViews, type PlanView } from './plan-view.ts';

/** Plans on sale, or all, newest first; with a currency, only those that have a price in it. */
export async function listAllPlans(
  ctx: CallContext,
  input: PageRequest & { includeArchived: boolean; currencyCode: string },
): Promise<{ items: PlanView[]; nextPageToken: string }> {
  const { includeArchived, currencyCode } = input;
  const list = JSON.stringify(['plans', includeArchived, currencyCode]);
  const cursor = readPageToken(ctx, list, input);
  const em = ctx.em.fork();
  const { rows } = await sql<{ id: string }>`
    select id from plan where true
      ${includeArchived ? sql`` : sql`and archived_at is null`}
      ${currencyCode === '' ? sql`` : sql`and exists (select 1 from price where plan_id = plan.id and currency_code = ${currencyCode})`}
      ${cursor ? sql`and (created_at, id) < (${cursor.at.toString()}, ${cursor.id}::uuid)` : sql``}
    order by created_at desc, id desc limit ${pageSizeOf(input) + 1}
  `.execute(em.getKysely());
  const ids = rows.map(({ id }) => id);
  return cutPage(ctx, list, input, await readPlanViews(em, ids), ({ createdAt, id }) => ({ at: createdAt, id }));
}

/** One plan, on sale or archived. Throws PLAN_NOT_FOUND. */
export async function getAnyPlan(ctx: CallContext, input: { planId: string }): Promise<PlanView> {
  const [plan] = await readPlanViews(ctx.em.fork(), [input.planId]);
  if (!plan) throw noSuchPlan();
  return plan;
}
