import type { EntityManager } from '../db/orm.ts';
import type { AttemptRow } from '../payments/attempt-rows.ts';
import { isFinal } from '../payments/payment.ts';
import { decideSavedMethod, decideSuccess } from './decide-success.ts';
import { decideAbsent, decideDead, decideDecline, decideWaiting, openAttempt } from './decide-without-money.ts';
import type { Decision, Settlement } from './decision.ts';
import type { SubscriptionsContext } from './subscription-rows.ts';
import type { SubscriptionState } from './subscription.ts';

/** Decides about one attempt, under the locks of its subscription and its own. States move only forward. */
export async function decideSettlement(
  ctx: SubscriptionsContext,
  tx: EntityManager,
  attempt: AttemptRow,
  subscription: SubscriptionState,
  { outcome, reason }: Settlement,
  now: Temporal.Instant,
): Promise<Decision> {
  if (outcome.kind === 'succeeded') return decideSuccess(tx, attempt, subscription, outcome, now);
  if (isFinal(attempt.state)) return { result: 'already settled' };
  switch (outcome.kind) {
    case 'method saved':
      return decideSavedMethod(ctx, tx, attempt, subscription, outcome, now);
    case 'declined':
      return decideDecline(attempt, subscription, outcome, now);
    case 'dead':
      return decideDead(attempt, subscription, outcome, reason, now);
    case 'absent':
      return decideAbsent(attempt, subscription, outcome, now);
    case 'waiting':
      return decideWaiting(attempt, subscription, outcome, now);
    default:
      return { result: 'open', attempt: openAttempt(attempt, outcome, now) };
  }
}
