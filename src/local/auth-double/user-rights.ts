import type { AuthStore } from './auth-store.ts';

/** One product line's lease, as Auth keeps it. */
export interface StoredGrant {
  readonly product_line: string;
  readonly subscription_id: string;
  readonly plan_code: string;
  readonly features: readonly string[];
  /** ISO instant, exclusive. */
  readonly access_until: string;
  readonly in_grace: boolean;
}

/** What Auth knows of a user; version 0 when billing never told anything. */
export interface UserRights {
  readonly user_id: string;
  readonly version: number;
  readonly rights_version: number;
  readonly grants: readonly StoredGrant[];
  /** Those whose lease still runs, by real time: past its `access_until` a grant is no right, told or not. */
  readonly features: readonly string[];
  /** ISO instant of the last revocation by Auth's own clock; null when there was none. */
  readonly tokens_revoked_before: string | null;
}

interface RightsRow {
  user_id: string;
  version: number;
  rights_version: number;
  grants: string;
  tokens_revoked_before: number | null;
}

/** The rights of one user at `nowMs`. */
export function userRights(store: AuthStore, userId: string, nowMs: number): UserRights {
  const row = store.prepare('select * from user_rights where user_id = ?').get(userId);
  const nothing: RightsRow = {
    user_id: userId,
    version: 0,
    rights_version: 0,
    grants: '[]',
    tokens_revoked_before: null,
  };
  return fromRow((row as RightsRow | undefined) ?? nothing, nowMs);
}

/** A page of all users in id order: those after `after` ('' for the first page), at most `limit`. */
export function listUserRights(store: AuthStore, after: string, limit: number, nowMs: number): UserRights[] {
  const rows = store.prepare('select * from user_rights where user_id > ? order by user_id limit ?').all(after, limit);
  return (rows as unknown as RightsRow[]).map((row) => fromRow(row, nowMs));
}

function fromRow(row: RightsRow, nowMs: number): UserRights {
  const grants = JSON.parse(row.grants) as StoredGrant[];
  const running = grants.filter((grant) => Date.parse(grant.access_until) > nowMs);
  return {
    user_id: row.user_id,
    version: row.version,
    rights_version: row.rights_version,
    grants,
    features: [...new Set(running.flatMap((grant) => grant.features))].sort(),
    tokens_revoked_before:
      row.tokens_revoked_before === null ? null : new Date(row.tokens_revoked_before).toISOString(),
  };
}
