import { sql } from 'kysely';
import { instantFromRow } from '../db/instant-type.ts';
import { cutPage, pageSizeOf, readPageToken, type PageRequest } from '../db/page.ts';
import type { CallContext } from '../identity/call-context.ts';

/** A line of the audit log. */
export interface AuditEntry {
  readonly id: string;
  readonly actorId: string;
  readonly actorRole: string;
  readonly action: string;
  readonly targetKind: string;
  readonly targetId: string;
  /** Empty for none. */
  readonly userId: string;
  readonly reason: string;
  /** JSON; empty where there was nothing. */
  readonly beforeJson: string;
  /** JSON; empty where nothing is left. */
  readonly afterJson: string;
  readonly occurredAt: Temporal.Instant;
}

/** Empty parts match everything. */
export interface ListAuditEntriesInput extends PageRequest {
  readonly actorId: string;
  readonly targetId: string;
  readonly userId: string;
  readonly action: string;
}

/** What operators changed, newest first. Throws PAGE_TOKEN_INVALID. */
export async function listAuditEntries(
  ctx: CallContext,
  input: ListAuditEntriesInput,
): Promise<{ items: AuditEntry[]; nextPageToken: string }> {
  const { actorId, targetId, userId, action } = input;
  const list = JSON.stringify(['audit', actorId, targetId, userId, action]);
  const cursor = readPageToken(ctx, list, input);
  const { rows } = await sql<Omit<AuditEntry, 'occurredAt'> & { occurredAt: string }>`
    select id, actor_id as "actorId", actor_role as "actorRole", action, target_kind as "targetKind",
      target_id as "targetId", coalesce(user_id::text, '') as "userId", reason,
      coalesce(before::text, '') as "beforeJson", coalesce(after::text, '') as "afterJson", occurred_at as "occurredAt"
    from audit_entry
    where true ${cursor ? sql`and id < ${cursor.id}::uuid` : sql``}
      ${actorId === '' ? sql`` : sql`and actor_id = ${actorId}`}
      ${targetId === '' ? sql`` : sql`and target_id = ${targetId}`}
      ${userId === '' ? sql`` : sql`and user_id = ${userId}::uuid`}
      ${action === '' ? sql`` : sql`and action = ${action}`}
    order by id desc limit ${pageSizeOf(input) + 1}
  `.execute(ctx.em.fork().getKysely());
  const entries = rows.map((row) => ({ ...row, occurredAt: instantFromRow(row.occurredAt) }));
  return cutPage(ctx, list, input, entries, ({ occurredAt, id }) => ({ at: occurredAt, id }));
}
