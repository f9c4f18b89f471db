import { recordAudit } from '../audit/record-audit.ts';
import type { EntityManager } from '../db/orm.ts';
import type { CallContext } from '../identity/call-context.ts';
import type { SubscriptionChange } from './lifecycle.ts';
import { snapshot } from './subscription-rows.ts';

/**
 * Writes what an operator did to a subscription into the audit log, in the same transaction; see `recordAudit`. `more` is
 * what the state after does not show.
 */
export async function auditChange(
  ctx: CallContext,
  tx: EntityManager,
  action: string,
  { before, after, reason }: Pick<SubscriptionChange, 'before' | 'after' | 'reason'>,
  now: Temporal.Instant,
  more: object = {},
): Promise<void> {
  const audited = (state: SubscriptionChange['after']) => ({ ...snapshot(state), next_charge_at: state.nextChargeAt });
  await recordAudit(
    ctx,
    tx,
    {
      action,
      targetKind: 'subscription',
      targetId: after.id,
      userId: after.userId,
      reason,
      before: audited(before),
      after: { ...audited(after), ...more },
    },
    now,
  );
}
