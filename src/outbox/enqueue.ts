import { sql } from 'kysely';
import type { EntityManager } from '../db/orm.ts';
import { rowTable } from '../db/row-table.ts';
import { newId } from '../lib/ids.ts';

export type EntitlementChangeKind =
  | 'GRANTED'
  | 'EXTENDED'
  | 'GRACE_STARTED'
  | 'REVOKED'
  | 'CANCELLATION_SCHEDULED'
  | 'CANCELLATION_UNDONE'
  | 'PLAN_CHANGED'
  | 'FEATURES_CHANGED';

/** One product line's lease, as it is stored and published. */
export interface Grant {
  readonly product_line: string;
  readonly subscription_id: string;
  readonly plan_code: string;
  readonly features: readonly string[];
  /** ISO instant, exclusive. */
  readonly access_until: string;
  readonly in_grace: boolean;
}

/** All that a user may do after a change: the whole state, never a difference. */
export interface EntitlementMessage {
  readonly userId: string;
  /** +1 per change of this user; raised under the user's row lock, so that commit order is version order. */
  readonly version: bigint;
  readonly rightsVersion: bigint;
  readonly kind: EntitlementChangeKind;
  /** UPPER_SNAKE. */
  readonly reason: string;
  readonly grants: readonly Grant[];
  readonly occurredAt: Temporal.Instant;
}

/** Puts messages into the outbox, in the transaction of the change that they tell of. Set-based: renewals settle in batches. */
export async function enqueue(
  tx: EntityManager,
  messages: readonly EntitlementMessage[],
  traceparent: string,
): Promise<void> {
  if (messages.length === 0) return;
  await sql`
    insert into outbox_message
      (event_id, user_id, version, rights_version, kind, reason, grants, traceparent, occurred_at)
    select *, ${traceparent}::text, ${messages[0]!.occurredAt.toString()}::timestamptz
    from ${rowTable('message', messages, {
      event_id: ['uuid', () => newId()],
      user_id: ['uuid', (message) => message.userId],
      version: ['bigint', (message) => message.version],
      rights_version: ['bigint', (message) => message.rightsVersion],
      kind: ['text', (message) => message.kind],
      reason: ['text', (message) => message.reason],
      grants: ['jsonb', (message) => message.grants],
    })}
  `.execute(tx.getKysely());
}
