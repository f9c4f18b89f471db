import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  ActorKind,
  SubscriptionEventKind,
  SubscriptionStatus,
  type SubscriptionEventSchema,
  type SubscriptionSchema,
  type SubscriptionStateSchema,
} from '@cinema-billing/gen/billing/v1/subscription_pb.ts';
import type { SubscriptionEvent } from '../../subscriptions/subscription-event.ts';
import type { SubscriptionSnapshot } from '../../subscriptions/subscription-rows.ts';
import type { SubscriptionState } from '../../subscriptions/subscription.ts';
import { presentTimestamps, toTimestamp } from './instant.ts';
import { toPriceMessage } from './plan.ts';

const actorKinds = {
  customer: ActorKind.CUSTOMER,
  operator: ActorKind.OPERATOR,
  service: ActorKind.SERVICE,
  provider: ActorKind.PROVIDER,
  system: ActorKind.SYSTEM,
} as const;

/** A subscription as its viewer sees it. */
export function toSubscriptionMessage(state: SubscriptionState): MessageInitShape<typeof SubscriptionSchema> {
  const { id, userId, planCode, productLine, cancelAtPeriodEnd, priceId, amount, intervalUnit, intervalCount } = state;
  return {
    id,
    userId,
    planCode,
    productLine,
    cancelAtPeriodEnd,
    price: toPriceMessage({ id: priceId, amount, intervalUnit, intervalCount }),
    status: SubscriptionStatus[state.status],
    createdAt: toTimestamp(state.createdAt),
    scheduledPriceId: state.scheduledPriceId ?? '',
    announcedPriceId: state.announcedPriceId ?? '',
    ...presentTimestamps({
      currentPeriodStart: state.currentPeriodStart,
      currentPeriodEnd: state.currentPeriodEnd,
      nextChargeAt: state.nextChargeAt,
      announcedPriceFrom: state.announcedPriceFrom,
      canceledAt: state.canceledAt,
      endedAt: state.endedAt,
    }),
  };
}

/** One line of history. */
export function toSubscriptionEventMessage(event: SubscriptionEvent): MessageInitShape<typeof SubscriptionEventSchema> {
  const { id, subscriptionId, actorId, reason } = event;
  return {
    id,
    subscriptionId,
    actorId,
    reason,
    kind: SubscriptionEventKind[event.kind],
    actorKind: actorKinds[event.actorKind],
    occurredAt: toTimestamp(event.occurredAt),
    after: toStateMessage(event.after),
    ...(event.before && { before: toStateMessage(event.before) }),
  };
}

function toStateMessage(snapshot: SubscriptionSnapshot): MessageInitShape<typeof SubscriptionStateSchema> {
  const instant = (text: string | null) => (text === null ? null : Temporal.Instant.from(text));
  return {
    status: SubscriptionStatus[snapshot.status],
    planCode: snapshot.plan_code,
    amount: { currencyCode: snapshot.currency_code, amountMinor: BigInt(snapshot.amount_minor) },
    cancelAtPeriodEnd: snapshot.cancel_at_period_end,
    scheduledPriceId: snapshot.scheduled_price_id ?? '',
    announcedPriceId: snapshot.announced_price_id ?? '',
    ...presentTimestamps({
      currentPeriodStart: instant(snapshot.current_period_start),
      currentPeriodEnd: instant(snapshot.current_period_end),
    }),
  };
}
