import { sql } from 'kysely';
import type { CallContext } from '../identity/call-context.ts';
import { BillingError } from '../lib/billing-error.ts';
import { changePlan, type PlanChangeInput } from './change-plan.ts';
import { sortedFeatures } from './create-plan.ts';
import type { PlanView } from './plan-view.ts';
import type { RefundPolicy } from './plan.ts';

/** A statement that read the plan before the change has ended by then: the server ends every statement after 5 s. */
const oldReadersEndAfterS = 10;

export interface UpdatePlanInput extends PlanChangeInput {
  /** What is left out stays as it is; at least one. */
  changes: {
    readonly name?: string;
    readonly description?: string;
    readonly features?: readonly string[];
    readonly trialDays?: number;
    readonly refundPolicy?: RefundPolicy;
  };
}

/**
 * Changes what viewers read of a plan and what it gives. Other features begin to reach its subscribers with this
 * transaction (subscriptions/roll-out-features.ts). Throws PLAN_NOT_FOUND, ETAG_MISMATCH, UPDATE_MASK_INVALID.
 */
export async function updatePlan(
  ctx: CallContext,
  input: UpdatePlanInput,
): Promise<{ plan: PlanView; affectedSubscribers: number }> {
  const { changes } = input;
  if (Object.keys(changes).length === 0) throw maskInvalid('update_mask names nothing');
  if (changes.name === '') throw maskInvalid('a plan has a name');
  const changed = await changePlan(ctx, 'UpdatePlan', input, async (tx, before) => {
    const features = sortedFeatures(changes.features ?? before.features);
    await sql`
      update plan set name = ${changes.name ?? before.name}, description = ${changes.description ?? before.description},
        features = ${features}::text[], trial_days = ${changes.trialDays ?? before.trialDays},
        refund_policy = ${changes.refundPolicy ?? before.refundPolicy}
      where id = ${input.planId}
    `.execute(tx.getKysely());
    if (features.join() === [...before.features].join()) return { affectedSubscribers: 0 };
    await sql`
      insert into feature_rollout (plan_id, pass_started_at, next_batch_at, last_pass_from)
      values (${input.planId}, clock_timestamp(), clock_timestamp(),
        clock_timestamp() + make_interval(secs => ${oldReadersEndAfterS}))
      on conflict (plan_id) do update set after_subscription_id = null, pass_started_at = excluded.pass_started_at,
        next_batch_at = excluded.next_batch_at, last_pass_from = excluded.last_pass_from
    `.execute(tx.getKysely());
    return { affectedSubscribers: before.openSubscriptions };
  });
  if (!input.validateOnly) ctx.wake('renewals');
  return { plan: changed.plan!, affectedSubscribers: changed.affectedSubscribers };
}

function maskInvalid(text: string): BillingError {
  return new BillingError('invalid', 'UPDATE_MASK_INVALID', text, {
    fieldViolations: [{ field: 'update_mask', description: text }],
  });
}
