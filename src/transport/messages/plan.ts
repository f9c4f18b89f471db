import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  IntervalUnit as ProtoUnit,
  type PlanSchema,
  type PriceSchema,
} from '@cinema-billing/gen/billing/v1/plan_pb.ts';
import type { IntervalUnit, Plan } from '../../catalog/plan.ts';
import type { Money } from '../../lib/money.ts';

const units: Record<IntervalUnit, ProtoUnit> = {
  day: ProtoUnit.DAY,
  week: ProtoUnit.WEEK,
  month: ProtoUnit.MONTH,
  year: ProtoUnit.YEAR,
};

/** A plan with its loaded prices. */
export function toPlanMessage(plan: Plan): MessageInitShape<typeof PlanSchema> {
  const { id, code, name, description, features, productLine, trialDays } = plan;
  const prices = plan.prices.getItems().map((price) =>
    toPriceMessage({
      id: price.id,
      amount: { currencyCode: price.currencyCode, amountMinor: price.amountMinor },
      intervalUnit: price.intervalUnit,
      intervalCount: price.intervalCount,
    }),
  );
  return { id, code, name, description, features, productLine, trialDays, prices };
}

/** A price, of a plan or of a subscription. */
export function toPriceMessage(price: {
  id: string;
  amount: Money;
  intervalUnit: IntervalUnit;
  intervalCount: number;
}): MessageInitShape<typeof PriceSchema> {
  const { id, amount, intervalUnit, intervalCount } = price;
  return { id, amount, intervalUnit: units[intervalUnit], intervalCount };
}
