import type { EntityManager } from './orm.ts';

/**
 * Does the work in a transaction that is undone at its end, and gives what it would have answered: a preview by the
 * very code of the deed. The work makes no call outside the database.
 */
export async function rehearse<T>(em: EntityManager, work: (tx: EntityManager) => Promise<T>): Promise<T> {
  const tx = em.fork();
  await tx.begin();
  try {
    return await work(tx);
  } finally {
    await tx.rollback();
  }
}
