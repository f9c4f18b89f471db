import { sql } from 'kysely';
import { firstEntitlementSpace } from '../db/lock-keys.ts';
import type { EntityManager } from '../db/orm.ts';
import { rowTable } from '../db/row-table.ts';
import { enqueue, type EntitlementChangeKind, type EntitlementMessage, type Grant } from '../outbox/enqueue.ts';

/** A change of one product line of one user. */
export interface EntitlementChange {
  readonly userId: string;
  readonly productLine: string;
  /** The line's grant from now on; undefined takes it away. */
  readonly grant: Grant | undefined;
  readonly kind: EntitlementChangeKind;
  /** UPPER_SNAKE. */
  readonly reason: string;
}

/** What is stored of a user. */
export interface EntitlementState {
  readonly version: bigint;
  readonly rightsVersion: bigint;
  readonly grants: readonly Grant[];
}

interface EntitlementRow {
  user_id: string;
  version: string;
  rights_version: string;
  grants: Grant[];
}

const nothingYet: EntitlementState = { version: 0n, rightsVersion: 0n, grants: [] };

/**
 * The state after a change: version + 1, the line's grant replaced, `rightsVersion` raised exactly when the line's
 * features changed, up or down; a mere extension does not raise it.
 */
export function applyChange(state: EntitlementState, change: EntitlementChange): EntitlementState {
  const before = state.grants.find((grant) => grant.product_line === change.productLine);
  const others = state.grants.filter((grant) => grant.product_line !== change.productLine);
  const version = state.version + 1n;
  const rightsChanged = JSON.stringify(before?.features ?? []) !== JSON.stringify(change.grant?.features ?? []);
  return {
    version,
    rightsVersion: rightsChanged || state.version === 0n ? version : state.rightsVersion,
    grants: change.grant ? [...others, change.grant] : others,
  };
}

/**
 * Applies changes in the caller's transaction and puts one message per change into the outbox. Users are locked in id
 * order, which keeps two batches from waiting for each other in a circle; the lock also makes commit order the order
 * of versions. Plain SQL: a renewal batch changes hundreds of users at once.
 */
export async function changeEntitlements(
  tx: EntityManager,
  changes: readonly EntitlementChange[],
  occurredAt: Temporal.Instant,
  traceparent: string,
): Promise<void> {
  if (changes.length === 0) return;
  const userIds = [...new Set(changes.map((change) => change.userId))].sort();
  const states = await lockEntitlements(tx, userIds);
  const messages: EntitlementMessage[] = changes.map((change) => {
    const state = applyChange(states.get(change.userId) ?? nothingYet, change);
    states.set(change.userId, state);
    return { ...state, userId: change.userId, kind: change.kind, reason: change.reason, occurredAt };
  });
  await storeEntitlements(tx, userIds, states, occurredAt);
  await enqueue(tx, messages, traceparent);
}

async function lockEntitlements(tx: EntityManager, userIds: string[]): Promise<Map<string, EntitlementState>> {
  const states = await readLocked(tx, userIds);
  const missing = userIds.filter((userId) => !states.has(userId));
  if (missing.length === 0) return states;
  // A row that is not there cannot be locked: of two first changes at once, the second waits here and then finds it.
  await sql`
    select pg_advisory_xact_lock(${firstEntitlementSpace}, key)
    from (select distinct hashtext(id) as key from unnest(${missing}::text[]) as m(id) order by key) as keys
  `.execute(tx.getKysely());
  return new Map([...states, ...(await readLocked(tx, missing))]);
}

async function readLocked(tx: EntityManager, userIds: string[]): Promise<Map<string, EntitlementState>> {
  const { rows } = await sql<EntitlementRow>`
    select user_id, version, rights_version, grants from entitlement
    where user_id = any(${userIds}::uuid[]) order by user_id for update
  `.execute(tx.getKysely());
  return new Map(
    rows.map((row) => [
      row.user_id,
      { version: BigInt(row.version), rightsVersion: BigInt(row.rights_version), grants: row.grants },
    ]),
  );
}

async function storeEntitlements(
  tx: EntityManager,
  userIds: string[],
  states: ReadonlyMap<string, EntitlementState>,
  at: Temporal.Instant,
): Promise<void> {
  const stored = userIds.map((userId) => ({ userId, ...states.get(userId)! }));
  await sql`
    insert into entitlement (user_id, version, rights_version, grants, updated_at)
    select *, ${at.toString()}::timestamptz
    from ${rowTable('stored', stored, {
      user_id: ['uuid', ({ userId }) => userId],
      version: ['bigint', ({ version }) => version],
      rights_version: ['bigint', ({ rightsVersion }) => rightsVersion],
      grants: ['jsonb', ({ grants }) => grants],
    })}
    on conflict (user_id) do update set version = excluded.version, rights_version = excluded.rights_version,
      grants = excluded.grants, updated_at = excluded.updated_at
  `.execute(tx.getKysely());
}
