import { sql } from 'kysely';
import { businessNow } from '../db/clock.ts';
import { inTransaction, type EntityManager } from '../db/orm.ts';
import { changeEntitlements } from '../entitlements/change-entitlements.ts';
import type { Grant } from '../outbox/enqueue.ts';
import { grantOf } from './lease.ts';
import { lockSubscriptions, type SubscriptionsContext } from './subscription-rows.ts';
import type { SubscriptionState } from './subscription.ts';

const batchMax = 200;

interface Rollout {
  plan_id: string;
  after_subscription_id: string | null;
  is_last_pass: boolean;
  last_pass_from: string;
}

/**
 * One batch of a plan's changed features for its subscribers: whoever has other ones gets the new ones, with
 * FEATURES_CHANGED. The place is stored with the effect, so that a crash continues where it was. A second pass follows
 * when every statement that could still have read the old features has ended. Gives how many were looked at.
 */
export async function rollOutFeatures(ctx: SubscriptionsContext): Promise<number> {
  const examined = await inTransaction(ctx.em, async (tx) => {
    const rollout = await claimRollout(tx);
    if (!rollout) return 0;
    const ids = await nextSubscriptions(tx, rollout);
    const states = [...(await lockSubscriptions(tx, ids)).values()];
    const now = await businessNow(tx);
    const changed = await withOtherFeatures(tx, states, ctx.leaseMarginHours);
    await changeEntitlements(
      tx,
      changed.map(({ state, grant }) => ({
        userId: state.userId,
        productLine: state.productLine,
        grant,
        kind: 'FEATURES_CHANGED',
        reason: 'PLAN_UPDATED',
      })),
      now,
      ctx.traceparent,
    );
    await moveOn(tx, rollout, ids);
    return Math.max(ids.length, 1);
  });
  if (examined > 0) ctx.wake('relay');
  return examined;
}

async function claimRollout(tx: EntityManager): Promise<Rollout | undefined> {
  const { rows } = await sql<Rollout>`
    select plan_id, after_subscription_id, pass_started_at >= last_pass_from as is_last_pass, last_pass_from
    from feature_rollout where next_batch_at <= clock_timestamp() order by next_batch_at limit 1 for update skip locked
  `.execute(tx.getKysely());
  return rows[0];
}

async function nextSubscriptions(tx: EntityManager, rollout: Rollout): Promise<string[]> {
  const { plan_id: planId, after_subscription_id: after } = rollout;
  const { rows } = await sql<{ id: string }>`
    select id from subscription where plan_id = ${planId} and ended_at is null
      ${after === null ? sql`` : sql`and id > ${after}::uuid`}
    order by id limit ${batchMax}
  `.execute(tx.getKysely());
  return rows.map(({ id }) => id);
}

/** Those whose stored grant has other features than their plan; a lease that has run out by itself stays as it is. */
async function withOtherFeatures(
  tx: EntityManager,
  states: readonly SubscriptionState[],
  leaseMarginHours: number,
): Promise<{ state: SubscriptionState; grant: Grant }[]> {
  const userIds = [...new Set(states.map(({ userId }) => userId))].sort();
  const { rows } = await sql<{ user_id: string; grants: Grant[] }>`
    select user_id, grants from entitlement where user_id = any(${userIds}::uuid[]) order by user_id for update
  `.execute(tx.getKysely());
  const grantsOf = new Map(rows.map((row) => [row.user_id, row.grants]));
  return states.flatMap((state) => {
    const stored = grantsOf.get(state.userId)?.find(({ subscription_id }) => subscription_id === state.id);
    const grant = grantOf(state, leaseMarginHours);
    if (!stored || !grant || JSON.stringify(stored.features) === JSON.stringify(grant.features)) return [];
    return [{ state, grant: { ...stored, features: grant.features } }];
  });
}

async function moveOn(tx: EntityManager, rollout: Rollout, ids: readonly string[]): Promise<void> {
  const db = tx.getKysely();
  const { plan_id: planId } = rollout;
  if (ids.length === batchMax) {
    await sql`update feature_rollout set after_subscription_id = ${ids.at(-1)} where plan_id = ${planId}`.execute(db);
  } else if (rollout.is_last_pass) {
    await sql`delete from feature_rollout where plan_id = ${planId}`.execute(db);
  } else {
    await sql`
      update feature_rollout set after_subscription_id = null, pass_started_at = last_pass_from,
        next_batch_at = last_pass_from where plan_id = ${planId}
    `.execute(db);
  }
}
