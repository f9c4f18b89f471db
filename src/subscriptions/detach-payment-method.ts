import { LockMode } from '@mikro-orm/core';
import { sql } from 'kysely';
import { businessNow } from '../db/clock.ts';
import type { EntityManager } from '../db/orm.ts';
import type { CallContext } from '../identity/call-context.ts';
import { recordAudit } from '../audit/record-audit.ts';
import { onceOrRehearsed } from '../identity/once-or-rehearsed.ts';
import { requestKey } from '../identity/once.ts';
import { BillingError } from '../lib/billing-error.ts';
import { hurryWaitingCharges, voidUnsentAttempts } from '../payments/attempt-rows.ts';
import { PaymentMethod } from '../payments/customer.ts';
import { removeMethod } from './commands.ts';
import { lockSubscriptions, storeChanges, type SubscriptionsContext } from './subscription-rows.ts';

/**
 * T27: removes a payment method. It always succeeds and is not charged any more: retries are voided in the same
 * transaction, and what would have renewed with it ends with its period. The provider is told afterwards
 * (payments/detach-methods.ts). Throws PAYMENT_METHOD_NOT_FOUND, also for another viewer's.
 */
export async function detachPaymentMethod(
  ctx: SubscriptionsContext,
  input: { requestId: string; paymentMethodId: string; reason: string; validateOnly?: boolean },
): Promise<{ endingSubscriptionIds: string[] }> {
  const { requestId, validateOnly = false, ...asked } = input;
  const key = requestKey(ctx, 'DetachPaymentMethod', requestId, asked);
  const detached = await onceOrRehearsed(ctx, key, validateOnly, async (tx) => {
    const method = await lockMethod(ctx, tx, input.paymentMethodId);
    const states = [...(await lockSubscriptions(tx, await chargedSubscriptions(tx, method.id))).values()];
    const now = await businessNow(tx);
    await sql`
      update payment_method set detached_at = ${now.toString()}, next_detach_at = ${now.toString()}
      where id = ${method.id}
    `.execute(tx.getKysely());
    const reason = input.reason || `REMOVED_BY_${ctx.actor.kind.toUpperCase()}`;
    const changes = states
      .filter((state) => state.paymentMethodId === method.id && state.endedAt === null)
      .map((state) => removeMethod(state, reason, now));
    const ids = changes.map(({ after }) => after.id);
    const voided = await voidUnsentAttempts(tx, ids, now);
    const stored = changes.map((change) => {
      const { openPaymentId } = change.after;
      const isVoid = openPaymentId !== null && voided.has(openPaymentId);
      return isVoid ? { ...change, after: { ...change.after, openPaymentId: null } } : change;
    });
    await storeChanges(ctx, tx, stored, now);
    await hurryWaitingCharges(tx, ids, now);
    // Without its digits: the log is never erased, a viewer's card is.
    const removed = { action: 'DetachPaymentMethod', targetKind: 'payment_method', targetId: method.id } as const;
    const [before, after] = [{ detached_at: null }, { detached_at: now, ending_subscription_ids: ids }];
    await recordAudit(ctx, tx, { ...removed, userId: method.userId, reason, before, after }, now);
    return { endingSubscriptionIds: ids };
  });
  ctx.wake('relay');
  ctx.wake('renewals');
  return detached;
}

async function chargedSubscriptions(tx: EntityManager, methodId: string): Promise<string[]> {
  const { rows } = await sql<{ id: string }>`
    select id from subscription where payment_method_id = ${methodId} and ended_at is null order by id
  `.execute(tx.getKysely());
  return rows.map(({ id }) => id);
}

/**
 * A saved method that the actor may use, locked, so that removing it and choosing it come one after the other. Throws
 * PAYMENT_METHOD_NOT_FOUND, also for another viewer's and for a removed one.
 */
export async function lockMethod(ctx: CallContext, tx: EntityManager, id: string): Promise<PaymentMethod> {
  const method = await tx.findOne(
    PaymentMethod,
    { id, detachedAt: null },
    { lockMode: LockMode.PESSIMISTIC_WRITE, refresh: true },
  );
  const { actor } = ctx;
  if (!method || (actor.kind === 'customer' && actor.id !== method.userId)) {
    throw new BillingError('not-found', 'PAYMENT_METHOD_NOT_FOUND', 'no such payment method');
  }
  return method;
}
