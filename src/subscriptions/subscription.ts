import { defineEntity, p, type OptionalProps } from '@mikro-orm/core';
import { Plan, Price, type IntervalUnit } from '../catalog/plan.ts';
import { instant } from '../db/instant-type.ts';
import type { Money } from '../lib/money.ts';
import type { SubscriptionStatus } from './state-table.ts';

/** What the rules look at. The entity has it, and so have the plain rows that the hot paths load in batches. */
export interface SubscriptionState {
  readonly id: string;
  readonly userId: string;
  readonly planCode: string;
  readonly features: readonly string[];
  readonly productLine: string;
  readonly priceId: string;
  /** Of one interval; agreed when the subscription was taken out. */
  readonly amount: Money;
  readonly intervalUnit: IntervalUnit;
  readonly intervalCount: number;
  readonly billingTimeZone: string;
  readonly status: SubscriptionStatus;
  readonly anchorAt: Temporal.Instant | null;
  /** The cycle that starts at the anchor. */
  readonly anchorCycle: number;
  /** Which period the current one is, from 0; −1 in a trial. It only ever grows. */
  readonly cycle: number;
  readonly currentPeriodStart: Temporal.Instant | null;
  readonly currentPeriodEnd: Temporal.Instant | null;
  readonly paymentMethodId: string | null;
  /** The payment that is being taken; while it is set no other one is begun. */
  readonly openPaymentId: string | null;
  readonly cancelAtPeriodEnd: boolean;
  /** Money of it is disputed: nothing is charged until that is decided for us, and it ends with its period. */
  readonly renewalBlocked: boolean;
  /** The price that applies from the end of the current period on (T22). */
  readonly scheduledPriceId: string | null;
  /** The price that was announced for the present one: for the first cycle that is due at `announcedPriceFrom` or later. */
  readonly announcedPriceId: string | null;
  readonly announcedPriceFrom: Temporal.Instant | null;
  /** Given by an operator: it costs nothing and ends with its period. */
  readonly complimentary: boolean;
  readonly graceUntil: Temporal.Instant | null;
  readonly dunningEndsAt: Temporal.Instant | null;
  /** When money is due; business time. */
  readonly nextChargeAt: Temporal.Instant | null;
  /** When something else is due: the end of a checkout, a period, the grace or the dunning, the reminder of a trial's end. */
  readonly nextTransitionAt: Temporal.Instant | null;
  readonly canceledAt: Temporal.Instant | null;
  readonly endedAt: Temporal.Instant | null;
  readonly createdAt: Temporal.Instant;
}

export const SubscriptionSchema = defineEntity({
  name: 'Subscription',
  tableName: 'subscription',
  properties: {
    id: p.uuid().primary(),
    userId: p.uuid(),
    plan: () => p.manyToOne(Plan).fieldName('plan_id'),
    price: () => p.manyToOne(Price).fieldName('price_id'),
    productLine: p.text(),
    status: p.text().$type<SubscriptionStatus>(),
    billingTimeZone: p.text(),
    anchorAt: instant().strictNullable(),
    anchorCycle: p.integer().default(0),
    cycle: p.integer().default(0),
    currentPeriodStart: instant().strictNullable(),
    currentPeriodEnd: instant().strictNullable(),
    paymentMethodId: p.uuid().strictNullable(),
    openPaymentId: p.uuid().strictNullable(),
    cancelAtPeriodEnd: p.boolean().default(false),
    renewalBlocked: p.boolean().default(false),
    scheduledPriceId: p.uuid().strictNullable(),
    announcedPriceId: p.uuid().strictNullable(),
    announcedPriceFrom: instant().strictNullable(),
    complimentary: p.boolean().default(false),
    graceUntil: instant().strictNullable(),
    dunningEndsAt: instant().strictNullable(),
    nextChargeAt: instant().strictNullable(),
    nextTransitionAt: instant().strictNullable(),
    canceledAt: instant().strictNullable(),
    endedAt: instant().strictNullable(),
    createdAt: instant(),
  },
});

/** A viewer's subscription to a plan. Rules are in lifecycle.ts, over `SubscriptionState`. */
export class Subscription extends SubscriptionSchema.class implements SubscriptionState {
  declare [OptionalProps]?: 'planCode' | 'features' | 'priceId' | 'amount' | 'intervalUnit' | 'intervalCount';

  get planCode(): string {
    return this.plan.code;
  }

  get features(): readonly string[] {
    return this.plan.features;
  }

  get priceId(): string {
    return this.price.id;
  }

  get amount(): Money {
    return { currencyCode: this.price.currencyCode, amountMinor: this.price.amountMinor };
  }

  get intervalUnit(): IntervalUnit {
    return this.price.intervalUnit;
  }

  get intervalCount(): number {
    return this.price.intervalCount;
  }
}
SubscriptionSchema.setClass(Subscription);
