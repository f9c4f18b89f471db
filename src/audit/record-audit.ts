import { sql } from 'kysely';
import type { EntityManager } from '../db/orm.ts';
import type { CallContext } from '../identity/call-context.ts';
import { newId } from '../lib/ids.ts';

export type AuditTarget =
  | 'plan'
  | 'customer'
  | 'subscription'
  | 'payment'
  | 'payment_method'
  | 'webhook_event'
  | 'promo_code';

/** One change, as the log keeps it. */
export interface AuditedChange {
  /** The RPC's name: `ArchivePlan`. */
  readonly action: string;
  readonly targetKind: AuditTarget;
  readonly targetId: string;
  /** The viewer whom it concerns. */
  readonly userId?: string;
  /** In the operator's words. */
  readonly reason: string;
  /** What the target was; undefined where it did not exist. Plain data; bigints and instants become text. */
  readonly before: unknown;
  /** What it is; undefined where nothing is left. */
  readonly after: unknown;
}

/**
 * Writes an operator's change into the audit log, in the transaction of the change: either both are there or neither.
 * Other actors leave none; their changes are in the history of what they changed.
 */
export async function recordAudit(
  ctx: CallContext,
  tx: EntityManager,
  change: AuditedChange,
  now: Temporal.Instant,
): Promise<void> {
  const { actor } = ctx;
  if (actor.kind !== 'operator') return;
  await sql`
    insert into audit_entry (id, actor_id, actor_role, action, target_kind, target_id, user_id, reason, before, after,
      occurred_at)
    values (${newId()}, ${actor.id}, ${actor.role}, ${change.action}, ${change.targetKind}, ${change.targetId},
      ${change.userId ?? null}, ${change.reason}, ${plainJson(change.before)}::jsonb, ${plainJson(change.after)}::jsonb,
      ${now.toString()})
  `.execute(tx.getKysely());
}

function plainJson(value: unknown): string | null {
  if (value === undefined) return null;
  return JSON.stringify(value, (_key, part: unknown) => (typeof part === 'bigint' ? part.toString() : part));
}
