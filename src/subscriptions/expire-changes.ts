import { sql } from 'kysely';
import { businessNow } from '../db/clock.ts';
import { inTransaction, type EntityManager } from '../db/orm.ts';
import { storePayments } from '../payments/attempt-rows.ts';
import { giveUpAttempts } from '../payments/give-up-attempts.ts';
import { failPlanChange } from './plan-change.ts';
import { lockSubscriptions, storeChanges, type SubscriptionsContext } from './subscription-rows.ts';

const batchMax = 200;

/**
 * T21: gives up payments for another plan whose time is over, so that the renewal waits for them no longer. What may
 * have been sent is followed on: money that still comes of it is surplus. Gives how many were looked at.
 */
export async function expireChanges(ctx: SubscriptionsContext): Promise<number> {
  return inTransaction(ctx.em, async (tx) => {
    const now = await businessNow(tx);
    const { rows: due } = await sql<{ id: string; subscription_id: string }>`
      select id, subscription_id from payment where status = 'PENDING' and expires_at <= ${now.toString()}
      order by expires_at, id limit ${batchMax}
    `.execute(tx.getKysely());
    if (due.length === 0) return 0;
    const states = await lockSubscriptions(
      tx,
      due.map((row) => row.subscription_id),
    );
    // Somebody else may have settled one, or given it up, before this lock was had.
    const open = await stillOpen(
      tx,
      due.map(({ id }) => id),
    );
    const overdue = due.filter(({ id }) => open.has(id));
    await storePayments(
      tx,
      overdue.map(({ id }) => ({ id, status: 'VOID' })),
      now,
    );
    await giveUpAttempts(
      tx,
      overdue.map(({ id }) => id),
      now,
    );
    const changes = overdue.flatMap(({ id, subscription_id: owner }) =>
      failPlanChange(states.get(owner)!, id, 'PAYMENT_EXPIRED'),
    );
    await storeChanges(ctx, tx, changes, now);
    return due.length;
  });
}

async function stillOpen(tx: EntityManager, paymentIds: readonly string[]): Promise<Set<string>> {
  const { rows } = await sql<{ id: string }>`
    select id from payment where id = any(${paymentIds}::uuid[]) and status = 'PENDING' order by id for update
  `.execute(tx.getKysely());
  return new Set(rows.map(({ id }) => id));
}
