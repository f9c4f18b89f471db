import { sql } from 'kysely';
import { instantFromRow } from '../db/instant-type.ts';
import type { EntityManager } from '../db/orm.ts';
import type { EntitlementMessage, EntitlementChangeKind, Grant } from './enqueue.ts';

/** A row of the outbox, as the relay sends it. */
export interface OutboxMessage extends EntitlementMessage {
  readonly eventId: string;
  readonly traceparent: string;
  /** Where the user's version before this one is in the stream; 0 when there is none. */
  readonly previousSequence: number;
}

/** A message that the stream has. */
export interface Published {
  readonly eventId: string;
  readonly sequence: number;
}

interface OutboxRow {
  event_id: string;
  user_id: string;
  version: string;
  rights_version: string;
  kind: EntitlementChangeKind;
  reason: string;
  grants: Grant[];
  traceparent: string;
  occurred_at: string;
  previous_sequence: string | null;
}

const columns = sql`
  message.event_id, message.user_id, message.version::text, message.rights_version::text, message.kind, message.reason,
  message.grants, message.traceparent, message.occurred_at::text, previous.stream_sequence::text as previous_sequence`;
const withPrevious = sql`
  left join outbox_message previous
    on previous.user_id = message.user_id and previous.version = message.version - 1`;

/**
 * The lowest unpublished version of each user, in user order from after `afterUserId` (undefined: from the first), at
 * most `limit` users. Users, never rows: a second message of one user while the first is in flight could overtake it.
 */
export async function nextMessages(
  em: EntityManager,
  afterUserId: string | undefined,
  limit: number,
): Promise<OutboxMessage[]> {
  const after = afterUserId === undefined ? sql`` : sql`and message.user_id > ${afterUserId}::uuid`;
  const { rows } = await sql<OutboxRow>`
    select distinct on (message.user_id) ${columns} from outbox_message message ${withPrevious}
    where message.published_at is null ${after}
    order by message.user_id, message.version limit ${limit}
  `.execute(em.fork().getKysely());
  return rows.map(fromRow);
}

/** The newest message of a user: their current state, published or not. */
export async function newestMessage(em: EntityManager, userId: string): Promise<OutboxMessage> {
  const { rows } = await sql<OutboxRow>`
    select ${columns} from outbox_message message ${withPrevious}
    where message.user_id = ${userId}::uuid order by message.version desc limit 1
  `.execute(em.fork().getKysely());
  return fromRow(rows[0]!);
}

/** Whether an event is one of ours. */
export async function isKnown(em: EntityManager, eventId: string): Promise<boolean> {
  const { rows } = await sql`select from outbox_message where event_id = ${eventId}::uuid`.execute(
    em.fork().getKysely(),
  );
  return rows.length > 0;
}

/** Marks what the stream has, all at once: after the ack, never before. */
export async function markPublished(em: EntityManager, published: readonly Published[]): Promise<void> {
  if (published.length === 0) return;
  await sql`
    update outbox_message set published_at = clock_timestamp(), stream_sequence = acknowledged.sequence
    from unnest(
      ${published.map((one) => one.eventId)}::uuid[],
      ${published.map((one) => one.sequence)}::bigint[]) as acknowledged (event_id, sequence)
    where outbox_message.event_id = acknowledged.event_id and published_at is null
  `.execute(em.fork().getKysely());
}

/**
 * Marks every version of a user up to the one that the stream has at `sequence`: it holds the whole state and stands for
 * them all. One by one they would point the fence of the next version at the wrong message.
 */
export async function markUpTo(em: EntityManager, userId: string, version: bigint, sequence: number): Promise<void> {
  await sql`
    update outbox_message set published_at = coalesce(published_at, clock_timestamp()), stream_sequence = ${sequence}
    where user_id = ${userId}::uuid and version <= ${version} and (published_at is null or version = ${version})
  `.execute(em.fork().getKysely());
}

/**
 * For a stream that ends at `lastSequence`: what it was told beyond that, it has lost. Puts the newest state of each
 * such user back among the unpublished and answers how many.
 */
export async function unpublishLost(em: EntityManager, lastSequence: number): Promise<number> {
  const { numAffectedRows } = await sql`
    update outbox_message lost set published_at = null, stream_sequence = null
    where lost.stream_sequence > ${lastSequence} and not exists (
      select from outbox_message newer where newer.user_id = lost.user_id and newer.version > lost.version)
  `.execute(em.fork().getKysely());
  return Number(numAffectedRows ?? 0n);
}

function fromRow(row: OutboxRow): OutboxMessage {
  return {
    eventId: row.event_id,
    userId: row.user_id,
    version: BigInt(row.version),
    rightsVersion: BigInt(row.rights_version),
    kind: row.kind,
    reason: row.reason,
    grants: row.grants,
    traceparent: row.traceparent,
    occurredAt: instantFromRow(row.occurred_at),
    previousSequence: Number(row.previous_sequence ?? 0),
  };
}
