import { sql } from 'kysely';
import { lockKeys } from './lock-keys.ts';
import { openDatabase } from './orm.ts';

const migrationTimeoutMs = 10 * 60_000;

/** Brings the database at `url` to the newest schema; replicas that start together wait for one another. */
export async function migrateDatabase(url: string): Promise<void> {
  const orm = await openDatabase({ url, entities: [], statementTimeoutMs: migrationTimeoutMs });
  try {
    await orm.em.transactional(async (tx) => {
      await sql`set local lock_timeout = 0`.execute(tx.getKysely());
      await sql`set local idle_in_transaction_session_timeout = 0`.execute(tx.getKysely());
      await sql`select pg_advisory_xact_lock(${lockKeys.migration[0]}, ${lockKeys.migration[1]})`.execute(
        tx.getKysely(),
      );
      await orm.migrator.up();
    });
  } finally {
    await orm.close(true);
  }
}
