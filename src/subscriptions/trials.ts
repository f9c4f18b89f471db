import { createHmac } from 'node:crypto';
import { sql } from 'kysely';
import type { EntityManager } from '../db/orm.ts';
import { BillingError } from '../lib/billing-error.ts';
import type { SubscriptionsContext } from './subscription-rows.ts';
import type { SubscriptionState } from './subscription.ts';

/** A viewer, or an instrument, has one trial per product line (T6). */
export function trialNotAvailable(): BillingError {
  return new BillingError('wrong-state', 'TRIAL_NOT_AVAILABLE', 'there is no trial for this viewer and this plan');
}

/** Whether the viewer had a trial of the product line already. */
export async function hadTrial(
  ctx: SubscriptionsContext,
  tx: EntityManager,
  { userId, productLine }: { userId: string; productLine: string },
): Promise<boolean> {
  const { rows } = await sql`
    select 1 from trial_use where product_line = ${productLine} and key_hash = ${keyHash(ctx, 'user', userId)}
  `.execute(tx.getKysely());
  return rows.length > 0;
}

/**
 * Takes the one trial of the viewer and of the instrument; false, and nothing is taken, where either had one. Only keyed
 * hashes are kept, so that the rule outlives the erasure of a customer.
 */
export async function claimTrial(
  ctx: SubscriptionsContext,
  tx: EntityManager,
  state: SubscriptionState,
  fingerprint: string,
  now: Temporal.Instant,
): Promise<boolean> {
  const hashes = [keyHash(ctx, 'user', state.userId), keyHash(ctx, 'instrument', fingerprint)];
  const { rows } = await sql<{ key_hash: string }>`
    insert into trial_use (product_line, key_hash, subscription_id, used_at)
    select ${state.productLine}, hash, ${state.id}::uuid, ${now.toString()}::timestamptz
    from unnest(${hashes.toSorted()}::text[]) as h(hash)
    on conflict do nothing returning key_hash
  `.execute(tx.getKysely());
  if (rows.length === hashes.length) return true;
  await sql`delete from trial_use where subscription_id = ${state.id}`.execute(tx.getKysely());
  return false;
}

function keyHash({ secret }: SubscriptionsContext, kind: 'user' | 'instrument', value: string): string {
  return createHmac('sha256', secret).update(`trial ${kind} ${value}`).digest('base64url');
}
