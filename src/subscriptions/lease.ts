import type { Grant } from '../outbox/enqueue.ts';
import type { SubscriptionState } from './subscription.ts';

/**
 * The lease that a state gives (design/1-domain.md, "Access is a lease"); undefined for none. Status alone gives
 * nothing: what will renew reaches `leaseMarginHours` past its period, so that a backlog or a slow provider never cuts
 * off a viewer who pays; what ends, ends exactly.
 */
export function grantOf(state: SubscriptionState, leaseMarginHours: number): Grant | undefined {
  const accessUntil = accessUntilOf(state, leaseMarginHours);
  return (
    accessUntil && {
      product_line: state.productLine,
      subscription_id: state.id,
      plan_code: state.planCode,
      features: state.features,
      access_until: accessUntil.toString({ fractionalSecondDigits: 3 }),
      in_grace: state.status === 'PAST_DUE',
    }
  );
}

function accessUntilOf(state: SubscriptionState, leaseMarginHours: number): Temporal.Instant | undefined {
  if (state.status === 'PAST_DUE') return state.graceUntil ?? undefined;
  if (state.status !== 'ACTIVE' && state.status !== 'TRIALING') return undefined;
  const willRenew = !state.cancelAtPeriodEnd && !state.renewalBlocked && state.paymentMethodId !== null;
  return willRenew ? state.currentPeriodEnd!.add({ hours: leaseMarginHours }) : state.currentPeriodEnd!;
}
