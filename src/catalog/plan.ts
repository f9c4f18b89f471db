import { defineEntity, p } from '@mikro-orm/core';
import { instant } from '../db/instant-type.ts';

export const intervalUnits = ['day', 'week', 'month', 'year'] as const;
export type IntervalUnit = (typeof intervalUnits)[number];

export const refundPolicies = ['none', 'prorated'] as const;
export type RefundPolicy = (typeof refundPolicies)[number];

const PlanSchema = defineEntity({
  name: 'Plan',
  tableName: 'plan',
  properties: {
    id: p.uuid().primary(),
    code: p.text().unique(),
    name: p.text(),
    description: p.text(),
    /** What the plan lets a viewer do, sorted: `catalog.premieres`, `video.uhd`. */
    features: p.array().columnType('text[]').$type<string[]>(),
    productLine: p.text(),
    /** Days without payment before the first period; 0 for none. */
    trialDays: p.integer().default(0),
    /** What a viewer gets back who cancels at once. */
    refundPolicy: p.text().$type<RefundPolicy>().default('none'),
    /** +1 with every change: its etag. */
    revision: p.integer().default(1),
    archivedAt: instant().strictNullable(),
    createdAt: instant(),
    prices: () => p.oneToMany(Price).mappedBy('plan'),
  },
});

/** A kind of subscription on sale; archived, it is only kept for those who have it. */
export class Plan extends PlanSchema.class {}
PlanSchema.setClass(Plan);

const PriceSchema = defineEntity({
  name: 'Price',
  tableName: 'price',
  properties: {
    id: p.uuid().primary(),
    plan: () => p.manyToOne(Plan).fieldName('plan_id'),
    currencyCode: p.text(),
    amountMinor: p.bigint(),
    intervalUnit: p.text().$type<IntervalUnit>(),
    intervalCount: p.integer(),
    createdAt: instant(),
  },
});

/** One way to pay for a plan. Immutable (a trigger refuses updates): a change of price is a new price. */
export class Price extends PriceSchema.class {}
PriceSchema.setClass(Price);

export { PlanSchema, PriceSchema };
