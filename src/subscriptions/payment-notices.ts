import type { CustomerNotice } from '../outbox/customer-notices.ts';
import type { AttemptRow } from '../payments/attempt-rows.ts';
import type { Decision } from './decision.ts';
import type { SubscriptionState } from './subscription.ts';

/**
 * What the viewer should be told of a renewal that did not go through: declined, or to be confirmed on a page, each try
 * for itself. `attempt` is as it was before the decision, `after` the subscription behind it.
 */
export function paymentNotices(
  attempt: AttemptRow,
  { result, attempt: update, changes = [] }: Decision,
  after: SubscriptionState,
): CustomerNotice[] {
  const { userId, subscriptionId, purpose, amount } = attempt;
  if (!update || !purpose.startsWith('cycle:')) return [];
  const { graceUntil: accessUntil, nextChargeAt: nextAttemptAt, dunningEndsAt, endedAt } = after;
  const same = { amount, accessUntil, endsAt: dunningEndsAt ?? endedAt };
  if (result === 'settled' && update.state === 'DECLINED' && changes.length > 0) {
    const declineCode = update.declineCode ?? '';
    return [{ userId, subscriptionId, body: { kind: 'paymentFailed', ...same, declineCode, nextAttemptAt } }];
  }
  const { actionUrl } = update;
  if (update.state !== 'WAITING' || attempt.state === 'WAITING' || actionUrl === undefined) return [];
  return [{ userId, subscriptionId, body: { kind: 'paymentActionRequired', ...same, actionUrl } }];
}
