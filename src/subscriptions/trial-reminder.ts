import { sql } from 'kysely';
import type { EntityManager } from '../db/orm.ts';
import { enqueueNotices } from '../outbox/customer-notices.ts';
import type { PaymentsContext } from '../payments/providers.ts';
import type { SubscriptionState } from './subscription.ts';
import { upcomingCharges } from './upcoming-charges.ts';

/** Until when a trial is a free one that will be charged: then `nextTransitionAt` is its reminder, not its end. */
export function isReminder({ status, nextChargeAt }: SubscriptionState): boolean {
  return status === 'TRIALING' && nextChargeAt !== null;
}

/**
 * Tells viewers that their trial ends and what follows is charged (T6), once per reminder: the instant is taken away in
 * the same transaction. The caller holds the rows' locks.
 */
export async function remindOfTrials(
  ctx: Pick<PaymentsContext, 'providers'>,
  tx: EntityManager,
  states: readonly SubscriptionState[],
  now: Temporal.Instant,
): Promise<void> {
  if (states.length === 0) return;
  const charges = await upcomingCharges(ctx, tx, states);
  await enqueueNotices(
    tx,
    states.flatMap(({ id, userId, nextChargeAt }) => {
      const charge = charges.get(id);
      // What is due already is charged, or told of by whoever postpones it.
      const isToCome = Temporal.Instant.compare(nextChargeAt!, now) > 0;
      const body = charge && isToCome && ({ kind: 'trialEnding', ...charge, chargedAt: nextChargeAt! } as const);
      return body ? { userId, subscriptionId: id, body } : [];
    }),
    now,
  );
  await sql`
    update subscription set next_transition_at = null where id = any(${states.map(({ id }) => id)}::uuid[])
  `.execute(tx.getKysely());
}
