import { sql } from 'kysely';
import type { CallContext } from '../identity/call-context.ts';
import { changePlan, type PlanChangeInput } from './change-plan.ts';
import type { PlanView } from './plan-view.ts';

/**
 * Takes a plan off sale: hidden from viewers, not to be subscribed to, untouched for whoever has it. An archived one
 * stays as it is. Throws PLAN_NOT_FOUND, ETAG_MISMATCH.
 */
export async function archivePlan(ctx: CallContext, input: PlanChangeInput): Promise<PlanView> {
  const { plan } = await changePlan(ctx, 'ArchivePlan', input, async (tx, _before, now) => {
    await sql`
      update plan set archived_at = coalesce(archived_at, ${now.toString()}) where id = ${input.planId}
    `.execute(tx.getKysely());
    return {};
  });
  return plan!;
}

/** Puts an archived plan on sale again. Throws PLAN_NOT_FOUND, ETAG_MISMATCH. */
export async function unarchivePlan(ctx: CallContext, input: PlanChangeInput): Promise<PlanView> {
  const { plan } = await changePlan(ctx, 'UnarchivePlan', input, async (tx) => {
    await sql`update plan set archived_at = null where id = ${input.planId}`.execute(tx.getKysely());
    return {};
  });
  return plan!;
}
