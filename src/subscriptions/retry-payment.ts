import { sql } from 'kysely';
import { businessNow } from '../db/clock.ts';
import type { EntityManager } from '../db/orm.ts';
import { onceOrRehearsed } from '../identity/once-or-rehearsed.ts';
import { requestKey } from '../identity/once.ts';
import { BillingError } from '../lib/billing-error.ts';
import { auditChange } from './audit-change.ts';
import { retryPayment as retry } from './commands.ts';
import { outcomePending } from './extend-period.ts';
import { requireVisible } from './find-subscription.ts';
import { lockSubscriptions, storeChanges, type SubscriptionsContext } from './subscription-rows.ts';
import type { SubscriptionState } from './subscription.ts';

/** Card schemes stop a merchant who tries one card 15 times in 30 days. */
const attemptsMax = 14;
const attemptsWindowDays = 30;

/**
 * Tries a failed renewal again now. Throws SUBSCRIPTION_NOT_FOUND, ILLEGAL_TRANSITION, PAYMENT_OUTCOME_PENDING (T23),
 * PAYMENT_METHOD_REQUIRED, PAYMENT_METHOD_DECLINED after a hard decline, TOO_MANY_ATTEMPTS.
 */
export async function retryPayment(
  ctx: SubscriptionsContext,
  input: { requestId: string; subscriptionId: string; reason: string; validateOnly?: boolean },
): Promise<SubscriptionState> {
  const { requestId, validateOnly = false, ...asked } = input;
  const key = requestKey(ctx, 'RetryPayment', requestId, asked);
  const state = await onceOrRehearsed(ctx, key, validateOnly, async (tx) => {
    const { subscriptionId } = input;
    const found = requireVisible(ctx, (await lockSubscriptions(tx, [subscriptionId])).get(subscriptionId));
    if (found.openPaymentId !== null && found.status === 'PAST_DUE') throw outcomePending();
    const now = await businessNow(tx);
    const change = retry(found, input.reason || 'RETRY_REQUESTED', now);
    await requireChargeable(tx, found.paymentMethodId!, now);
    await storeChanges(ctx, tx, [change], now);
    await auditChange(ctx, tx, 'RetryPayment', change, now);
    return change.after;
  });
  ctx.wake('renewals');
  return state;
}

/**
 * Whether one more charge of a method makes sense and is allowed. Throws PAYMENT_METHOD_DECLINED after a hard decline,
 * TOO_MANY_ATTEMPTS.
 */
export async function requireChargeable(tx: EntityManager, methodId: string, now: Temporal.Instant): Promise<void> {
  const since = now.subtract({ hours: attemptsWindowDays * 24 }).toString();
  const { rows } = await sql<{ hard: boolean; recent: number }>`
    select coalesce(bool_or(decline_hard), false) as hard,
      count(*) filter (where created_at > ${since})::int as recent
    from payment_attempt where payment_method_id = ${methodId} and state = 'DECLINED'
  `.execute(tx.getKysely());
  const { hard, recent } = rows[0]!;
  if (hard) {
    throw new BillingError(
      'wrong-state',
      'PAYMENT_METHOD_DECLINED',
      'this payment method was declined for good; another one is needed',
    );
  }
  if (recent >= attemptsMax) {
    throw new BillingError('exhausted', 'TOO_MANY_ATTEMPTS', 'this payment method was tried too often in 30 days');
  }
}
