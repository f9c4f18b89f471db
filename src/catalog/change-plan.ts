import { sql } from 'kysely';
import { recordAudit } from '../audit/record-audit.ts';
import { businessNow } from '../db/clock.ts';
import type { EntityManager } from '../db/orm.ts';
import type { CallContext } from '../identity/call-context.ts';
import { onceOrRehearsed } from '../identity/once-or-rehearsed.ts';
import { requestKey } from '../identity/once.ts';
import { BillingError } from '../lib/billing-error.ts';
import { auditedPlan, readPlanViews, type PlanView } from './plan-view.ts';

/** What every change of a plan takes. */
export interface PlanChangeInput {
  requestId: string;
  reason: string;
  validateOnly: boolean;
  planId: string;
  /** The state that the change is based on. */
  etag: string;
}

/** Names a state of a plan. */
export function etagOf({ revision }: Pick<PlanView, 'revision'>): string {
  return `r${revision}`;
}

/** The error for a plan that is not there, on sale or not. */
export function noSuchPlan(): BillingError {
  return new BillingError('not-found', 'PLAN_NOT_FOUND', 'no such plan');
}

/**
 * Changes a plan under its row's lock, once per request id, with its audit entry, or rehearses that. `work` gets the
 * state before and writes; the answer is the state after, undefined when the plan is gone; `audited` is what the audit log
 * keeps beside it. Throws PLAN_NOT_FOUND,
 * ETAG_MISMATCH, and what `work` throws.
 */
export async function changePlan<More extends object>(
  ctx: CallContext,
  action: string,
  input: PlanChangeInput,
  work: (tx: EntityManager, before: PlanView, now: Temporal.Instant) => Promise<More & { audited?: object }>,
): Promise<{ plan: PlanView | undefined } & More> {
  const { requestId, validateOnly, ...asked } = input;
  const changed = await onceOrRehearsed(ctx, requestKey(ctx, action, requestId, asked), validateOnly, async (tx) => {
    await sql`select 1 from plan where id = ${input.planId} for update`.execute(tx.getKysely());
    const [before] = await readPlanViews(tx, [input.planId]);
    if (!before) throw noSuchPlan();
    if (etagOf(before) !== input.etag) {
      throw new BillingError('conflict', 'ETAG_MISMATCH', 'the plan was changed meanwhile; read it again', {
        metadata: { etag: etagOf(before) },
      });
    }
    const now = await businessNow(tx);
    const more = await work(tx, before, now);
    await sql`update plan set revision = revision + 1 where id = ${input.planId}`.execute(tx.getKysely());
    const [after] = await readPlanViews(tx, [input.planId]);
    await recordAudit(
      ctx,
      tx,
      {
        action,
        targetKind: 'plan',
        targetId: input.planId,
        reason: input.reason,
        before: auditedPlan(before),
        after: after && { ...auditedPlan(after), ...more.audited },
      },
      now,
    );
    return { ...more, plan: after };
  });
  ctx.wake('plans');
  return changed;
}
