import { CompiledQuery } from 'kysely';
import { businessNow } from '../db/clock.ts';
import { instantFromRow } from '../db/instant-type.ts';
import { cutPage, pageSizeOf, readPageToken, type PageRequest } from '../db/page.ts';
import type { CallContext } from '../identity/call-context.ts';
import { inTransaction, type EntityManager } from '../db/orm.ts';
import type { Grant } from '../outbox/enqueue.ts';
import { Entitlement } from './entitlement.ts';

/** What a viewer may use: the stored state, and what of it holds at `asOf`. */
export interface EntitlementView {
  readonly userId: string;
  /** 0n for a viewer who never had anything. */
  readonly version: bigint;
  readonly rightsVersion: bigint;
  readonly grants: readonly Grant[];
  /** Of all grants whose lease runs, each once, sorted. */
  readonly features: readonly string[];
  readonly updatedAt: Temporal.Instant | undefined;
}

export interface ListEntitlementsInput extends PageRequest {
  /** Undefined for everybody who ever had anything. */
  readonly updatedSince: Temporal.Instant | undefined;
}

/**
 * What these viewers have and the business time, in one statement: Auth asks with every token that it issues. `$1` is
 * the list of ids; one row for each, in its order.
 */
export const entitlementsStatement = `
  select u.user_id, e.version, e.rights_version, e.grants, e.updated_at::text, (select business_now())::text as as_of
  from unnest($1::uuid[]) with ordinality u (user_id, n) left join entitlement e using (user_id) order by n`;

interface EntitlementRow {
  user_id: string;
  version: string | null;
  rights_version: string;
  grants: Grant[];
  updated_at: string;
  as_of: string;
}

/** What these viewers may use, one answer for each id, in the order asked. The ids are lower-case UUIDs, one at least. */
export async function getEntitlements(
  ctx: CallContext,
  { userIds }: { userIds: readonly string[] },
): Promise<{ entitlements: EntitlementView[]; asOf: Temporal.Instant }> {
  const query = CompiledQuery.raw(entitlementsStatement, [userIds]) as CompiledQuery<EntitlementRow>;
  const { rows } = await ctx.em.getKysely().executeQuery(query);
  const asOf = instantFromRow(rows[0]!.as_of);
  return { entitlements: rows.map((row) => viewOfRow(row, asOf)), asOf };
}

function viewOfRow(row: EntitlementRow, asOf: Temporal.Instant): EntitlementView {
  if (row.version === null) return nothingYet(row.user_id);
  return viewOf(
    {
      userId: row.user_id,
      version: BigInt(row.version),
      rightsVersion: BigInt(row.rights_version),
      grants: row.grants,
      updatedAt: instantFromRow(row.updated_at),
    },
    asOf,
  );
}

/** Entitlements by user id; see the contract for how a walk over all of them misses nothing. Throws PAGE_TOKEN_INVALID. */
export async function listEntitlements(
  ctx: CallContext,
  input: ListEntitlementsInput,
): Promise<{ entitlements: EntitlementView[]; nextPageToken: string; asOf: Temporal.Instant }> {
  const list = `entitlements since ${input.updatedSince?.toString() ?? 'ever'}`;
  const cursor = readPageToken(ctx, list, input);
  return inTransaction(ctx.em, async (tx) => {
    // Before the rows are read: a walk that begins here again sees all that this page could not.
    const asOf = await businessNow(tx);
    const rows = await findPage(tx, cursor?.id, input);
    const page = cutPage(ctx, list, input, rows, (row) => ({ at: row.updatedAt, id: row.userId }));
    return { entitlements: page.items.map((row) => viewOf(row, asOf)), nextPageToken: page.nextPageToken, asOf };
  });
}

function findPage(tx: EntityManager, after: string | undefined, input: ListEntitlementsInput): Promise<Entitlement[]> {
  return tx.find(
    Entitlement,
    {
      ...(after === undefined ? {} : { userId: { $gt: after } }),
      ...(input.updatedSince === undefined ? {} : { updatedAt: { $gte: input.updatedSince } }),
    },
    { orderBy: { userId: 'asc' }, limit: pageSizeOf(input) + 1 },
  );
}

type StoredEntitlement = Pick<Entitlement, 'userId' | 'version' | 'rightsVersion' | 'grants' | 'updatedAt'>;

function viewOf(row: StoredEntitlement, asOf: Temporal.Instant): EntitlementView {
  const { userId, version, rightsVersion, grants, updatedAt } = row;
  const running = grants.filter(
    (grant) => Temporal.Instant.compare(Temporal.Instant.from(grant.access_until), asOf) > 0,
  );
  const features = [...new Set(running.flatMap((grant) => grant.features))].sort();
  return { userId, version: BigInt(version), rightsVersion: BigInt(rightsVersion), grants, features, updatedAt };
}

function nothingYet(userId: string): EntitlementView {
  return { userId, version: 0n, rightsVersion: 0n, grants: [], features: [], updatedAt: undefined };
}
