import { DatabaseSync } from 'node:sqlite';
import { join } from 'node:path';

export type AuthStore = DatabaseSync;

const schema = `
  create table if not exists user_rights (
    user_id text primary key,
    version integer not null,
    rights_version integer not null,
    grants text not null,
    tokens_revoked_before integer
  ) strict;

  create table if not exists access_token (
    jti text primary key,
    user_id text not null,
    expires_at integer not null,
    revoked_at integer
  ) strict;
  create index if not exists access_token_good on access_token (user_id) where revoked_at is null;
  create index if not exists access_token_expiry on access_token (expires_at);

  create table if not exists dead_letter (
    stream_sequence integer not null,
    published_at text not null,
    subject text not null,
    payload blob not null,
    problem text not null,
    primary key (stream_sequence, published_at)
  ) strict;
`;

/**
 * Opens Auth's own database: rights per user, every access token that may still be good, dead letters. Instants are
 * milliseconds since the epoch. A commit is on disk before a message is acknowledged (synchronous = full).
 */
export function openAuthStore(dataDir: string): AuthStore {
  const store = new DatabaseSync(join(dataDir, 'auth.db'));
  store.exec('pragma journal_mode = wal; pragma synchronous = full;');
  store.exec(schema);
  return store;
}

/** Runs the work in one transaction: all of it or nothing. */
export function inStoreTransaction<T>(store: AuthStore, work: () => T): T {
  store.exec('begin immediate');
  try {
    const result = work();
    store.exec('commit');
    return result;
  } catch (error) {
    store.exec('rollback');
    throw error;
  }
}
