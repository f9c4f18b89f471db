import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  PlanChangeOutcome,
  PlanChangeTiming,
  type PlanChangeSchema,
} from '@cinema-billing/gen/billing/v1/subscription_service_pb.ts';
import type { PlanChangeResult } from '../../subscriptions/change-plan.ts';
import type { PlanChangeQuote } from '../../subscriptions/plan-change-quote.ts';
import { toTimestamp } from './instant.ts';

const timings = { now: PlanChangeTiming.NOW, 'at-period-end': PlanChangeTiming.AT_PERIOD_END } as const;

const outcomes = {
  applied: PlanChangeOutcome.APPLIED,
  scheduled: PlanChangeOutcome.SCHEDULED,
  dropped: PlanChangeOutcome.DROPPED,
  'payment pending': PlanChangeOutcome.PAYMENT_PENDING,
  'payment failed': PlanChangeOutcome.PAYMENT_FAILED,
} as const;

/** What a change of plan does and costs. */
export function toPlanChangeMessage(quote: PlanChangeQuote): MessageInitShape<typeof PlanChangeSchema> {
  const { timing, effectiveAt, prorationAt, credit, charge, due, period, nextCharge } = quote;
  return {
    timing: timings[timing],
    effectiveAt: toTimestamp(effectiveAt),
    prorationAt: toTimestamp(prorationAt),
    credit,
    charge,
    due,
    currentPeriodStart: toTimestamp(period.start),
    currentPeriodEnd: toTimestamp(period.end),
    nextCharge,
  };
}

interface PlanChangeResultFields {
  change: MessageInitShape<typeof PlanChangeSchema>;
  outcome: PlanChangeOutcome;
  actionUrl: string;
  declineCode: string;
}

/** What became of one; operators get it with a subscription of their own kind. */
export function toPlanChangeResult({
  quote,
  outcome,
  actionUrl,
  declineCode,
}: PlanChangeResult): PlanChangeResultFields {
  return { change: toPlanChangeMessage(quote), outcome: outcomes[outcome], actionUrl, declineCode };
}
