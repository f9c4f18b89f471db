import { sql, type RawBuilder } from 'kysely';
import { inTransaction, type EntityManager } from '../db/orm.ts';

const statementTimeoutMs = 15 * 60_000;

/** One unchanging view of the database for as long as the work reads it; a statement may take 15 minutes. */
export async function inReadTransaction<T>(em: EntityManager, work: (tx: EntityManager) => Promise<T>): Promise<T> {
  return inTransaction(em, async (tx) => {
    await sql`set transaction isolation level repeatable read, read only`.execute(tx.getKysely());
    await sql.raw(`set local statement_timeout = ${statementTimeoutMs}`).execute(tx.getKysely());
    return work(tx);
  });
}

/**
 * A server-side cursor, so that memory holds two pages however long the answer is: one that is worked off and one that
 * is on its way. Gives the next page; an empty one at the end.
 */
export async function openCursor<Row>(
  tx: EntityManager,
  name: string,
  query: RawBuilder<unknown>,
  pageSize: number,
): Promise<() => Promise<readonly Row[]>> {
  const db = tx.getKysely();
  await sql`declare ${sql.id(name)} no scroll cursor for ${query}`.execute(db);
  const fetch = async () => (await sql.raw<Row>(`fetch ${pageSize} from ${name}`).execute(db)).rows;
  let next = fetch();
  return async () => {
    const page = await next;
    if (page.length > 0) {
      next = fetch();
      // Whoever stops reading does not wait for it.
      next.catch(() => undefined);
    }
    return page;
  };
}
