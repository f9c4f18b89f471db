import { sql } from 'kysely';
import { businessNow } from '../db/clock.ts';
import { inTransaction, type EntityManager } from '../db/orm.ts';
import type { OperatorRole } from '../identity/actor.ts';
import { enqueueNotices } from '../outbox/customer-notices.ts';
import { movable, noticeEndsAt } from './move-price.ts';
import { announcePrice } from './plan-change.ts';
import { lockSubscriptions, storeChanges, type SubscriptionsContext } from './subscription-rows.ts';
import { findTargetPrices } from './target-price.ts';

const batchMax = 200;

interface Move {
  id: string;
  plan_id: string;
  from_price_id: string;
  to_price_id: string;
  reason: string;
  actor_id: string;
  actor_role: OperatorRole;
  after_subscription_id: string | null;
}

/**
 * One batch of a price move: tells its subscribers, as the operator who asked for it, each with a notice of full length
 * from this moment on. The place is stored with the effect, so that a crash continues where it was. Gives how many were
 * looked at.
 */
export async function announcePrices(ctx: SubscriptionsContext): Promise<number> {
  return inTransaction(ctx.em, async (tx) => {
    const { rows: moves } = await sql<Move>`
      select id, plan_id, from_price_id, to_price_id, reason, actor_id, actor_role, after_subscription_id
      from price_move where finished_at is null order by created_at, id limit 1 for update skip locked
    `.execute(tx.getKysely());
    const [move] = moves;
    if (!move) return 0;
    const ids = await nextSubscriptions(tx, move);
    const now = await businessNow(tx);
    const notice = { priceId: move.to_price_id, appliesFrom: noticeEndsAt(now) };
    const changes = [...(await lockSubscriptions(tx, ids)).values()]
      // Between the reading and the lock it may have ended, or changed its plan.
      .filter((state) => state.priceId === move.from_price_id && state.endedAt === null)
      .map((state) => announcePrice(state, notice, move.reason));
    const actor = { kind: 'operator', id: move.actor_id, role: move.actor_role } as const;
    await storeChanges({ ...ctx, actor }, tx, changes, now);
    const price = (await findTargetPrices(tx, [move.to_price_id])).get(move.to_price_id)!.amount;
    await enqueueNotices(
      tx,
      changes.map(({ before: { id: subscriptionId, userId, amount: priceBefore } }) => {
        const body = { kind: 'priceChangeAnnounced', priceBefore, price, appliesFrom: notice.appliesFrom } as const;
        return { userId, subscriptionId, body };
      }),
      now,
    );
    await sql`
      update price_move set after_subscription_id = ${ids.at(-1) ?? move.after_subscription_id},
        finished_at = ${ids.length < batchMax ? now.toString() : null}
      where id = ${move.id}
    `.execute(tx.getKysely());
    return Math.max(ids.length, 1);
  });
}

async function nextSubscriptions(tx: EntityManager, move: Move): Promise<string[]> {
  const after = move.after_subscription_id;
  const { rows } = await sql<{ id: string }>`
    select id from subscription where plan_id = ${move.plan_id} and price_id = ${move.from_price_id} and ${movable}
      ${after === null ? sql`` : sql`and id > ${after}::uuid`}
    order by id limit ${batchMax}
  `.execute(tx.getKysely());
  return rows.map(({ id }) => id);
}
