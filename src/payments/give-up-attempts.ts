import { sql } from 'kysely';
import type { EntityManager } from '../db/orm.ts';

/**
 * Gives up the attempts of payments that nobody waits for any longer: what was certainly not sent is over, and the
 * sweeper looks at once at what waits for the customer, to cancel it at the provider.
 */
export async function giveUpAttempts(
  tx: EntityManager,
  paymentIds: readonly string[],
  now: Temporal.Instant,
): Promise<void> {
  const db = tx.getKysely();
  await sql`
    update payment_attempt set state = 'DEAD', settled_at = ${now.toString()}, next_check_at = null
    where payment_id = any(${paymentIds}::uuid[]) and state = 'PENDING'
  `.execute(db);
  await sql`
    update payment_attempt set next_check_at = ${now.toString()}
    where payment_id = any(${paymentIds}::uuid[]) and state = 'WAITING'
  `.execute(db);
}
