import { sql } from 'kysely';
import type { EntityManager } from '../db/orm.ts';
import { enqueueNotices } from '../outbox/customer-notices.ts';
import type { PaymentsContext } from '../payments/providers.ts';
import { nextCharges } from './next-charge.ts';
import { nextPriceId } from './plan-change.ts';
import type { SubscriptionState } from './subscription.ts';
import { findTargetPrices } from './target-price.ts';

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
  const targets = await findTargetPrices(
    tx,
    states.flatMap((state) => nextPriceId(state) ?? []),
  );
  const amounts = await nextCharges(
    ctx,
    tx,
    states.map((state) => {
      const { planCode, amount } = targets.get(nextPriceId(state) ?? '') ?? state;
      return { id: state.id, paymentMethodId: state.paymentMethodId, planCode, amount };
    }),
  );
  const { rows } = await sql<{ id: string; brand: string; last4: string }>`
    select id, brand, last4 from payment_method where id = any(${states.flatMap((one) => one.paymentMethodId ?? [])}::uuid[])
  `.execute(tx.getKysely());
  const methods = new Map(rows.map((row) => [row.id, row]));
  await enqueueNotices(
    tx,
    states.map(({ id, userId, nextChargeAt, paymentMethodId }) => {
      const method = methods.get(paymentMethodId ?? '');
      const [cardBrand, cardLast4] = [method?.brand ?? '', method?.last4 ?? ''];
      const body = {
        kind: 'trialEnding',
        amount: amounts.get(id)!,
        chargedAt: nextChargeAt!,
        cardBrand,
        cardLast4,
      } as const;
      return { userId, subscriptionId: id, body };
    }),
    now,
  );
  await sql`
    update subscription set next_transition_at = null where id = any(${states.map(({ id }) => id)}::uuid[])
  `.execute(tx.getKysely());
}
