import { sql } from 'kysely';
import { businessNow } from '../db/clock.ts';
import { once, requestKey } from '../identity/once.ts';
import { hurryWaitingCharges } from '../payments/attempt-rows.ts';
import { changeMethod } from './commands.ts';
import { lockMethod } from './detach-payment-method.ts';
import { findTransition } from './state-table.ts';
import { lockSubscriptions, storeChanges, type SubscriptionsContext } from './subscription-rows.ts';
import type { SubscriptionState } from './subscription.ts';

/**
 * T13: charges the viewer's open subscriptions with another saved method from now on; one that owes money is charged at
 * once, and its deadlines stay. Gives those subscriptions. Throws PAYMENT_METHOD_NOT_FOUND, also for another viewer's
 * and for a removed one.
 */
export async function setDefaultPaymentMethod(
  ctx: SubscriptionsContext,
  input: { requestId: string; paymentMethodId: string },
): Promise<SubscriptionState[]> {
  const { requestId, ...asked } = input;
  const changed = await once(ctx, requestKey(ctx, 'SetDefaultPaymentMethod', requestId, asked), async (tx) => {
    const method = await lockMethod(ctx, tx, input.paymentMethodId);
    const { rows } = await sql<{ id: string }>`
      select id from subscription where user_id = ${method.userId} and ended_at is null
    `.execute(tx.getKysely());
    const ids = rows.map(({ id }) => id);
    const states = [...(await lockSubscriptions(tx, ids)).values()].filter(
      (state) => state.paymentMethodId !== method.id && findTransition(state, 'change-method') !== undefined,
    );
    const now = await businessNow(tx);
    const changes = states.map((state) => changeMethod(state, method.id, now));
    await storeChanges(ctx, tx, changes, now);
    await hurryWaitingCharges(tx, ids, now);
    return changes.map(({ after }) => after);
  });
  ctx.wake('relay');
  ctx.wake('renewals');
  return changed;
}
