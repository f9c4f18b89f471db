import { defineEntity, p } from '@mikro-orm/core';
import { instant } from '../db/instant-type.ts';

/**
 * Why money is owed, as the owner of the debt names it: `initial`, `cycle:<n>`, `change:<id>` for another plan, or
 * `setup:<id>`, which takes none and only saves a method. One payment per purpose, ever.
 */
export type PaymentPurpose = 'initial' | `cycle:${number}` | `change:${string}` | `setup:${string}`;

export type PaymentStatus = 'PENDING' | 'SUCCEEDED' | 'VOID';

export const PaymentSchema = defineEntity({
  name: 'Payment',
  tableName: 'payment',
  properties: {
    id: p.uuid().primary(),
    subscriptionId: p.uuid(),
    userId: p.uuid(),
    purpose: p.text().$type<PaymentPurpose>(),
    amountMinor: p.bigint(),
    currencyCode: p.text(),
    periodStart: instant().strictNullable(),
    periodEnd: instant().strictNullable(),
    /** Of a change of plan: the price that applies when it is paid. */
    priceId: p.uuid().strictNullable(),
    /** Of a change of plan: what the unused time before it was worth, and which payment had bought that time. */
    creditMinor: p.bigint().defaultRaw('0'),
    creditedPaymentId: p.uuid().strictNullable(),
    /** Nobody waits for it any longer than that; business time. */
    expiresAt: instant().strictNullable(),
    status: p.text().$type<PaymentStatus>(),
    createdAt: instant(),
    settledAt: instant().strictNullable(),
  },
});

/** Money owed for one purpose of one subscription. */
export class Payment extends PaymentSchema.class {}
PaymentSchema.setClass(Payment);

/**
 * PENDING: written down, certainly never executed; it may still be voided. SENT: given to the provider. WAITING: the
 * customer or the provider has not finished. UNKNOWN: the provider may have taken the money. PARKED: it took another
 * amount than was owed, a person has to look. The other three are final.
 */
export type AttemptState = 'PENDING' | 'SENT' | 'WAITING' | 'UNKNOWN' | 'PARKED' | 'SUCCEEDED' | 'DECLINED' | 'DEAD';

/**
 * `checkout`: on the provider's page. `charge`: of a saved method. `attached`: money that came without a call of ours, by
 * an operator's word; the provider has it under another reference, or under none.
 */
export type AttemptKind = 'checkout' | 'charge' | 'attached';

export const PaymentAttemptSchema = defineEntity({
  name: 'PaymentAttempt',
  tableName: 'payment_attempt',
  properties: {
    id: p.uuid().primary(),
    paymentId: p.uuid(),
    subscriptionId: p.uuid(),
    attemptNumber: p.integer(),
    kind: p.text().$type<AttemptKind>(),
    idempotencyKey: p.text(),
    provider: p.text(),
    merchantAccount: p.text(),
    paymentMethodId: p.uuid().strictNullable(),
    amountMinor: p.bigint(),
    currencyCode: p.text(),
    description: p.text(),
    returnUrl: p.text().default(''),
    state: p.text().$type<AttemptState>(),
    providerPaymentId: p.text().strictNullable(),
    checkoutUrl: p.text().strictNullable(),
    checkoutExpiresAt: instant().strictNullable(),
    declineCode: p.text().strictNullable(),
    declineHard: p.boolean().strictNullable(),
    /** Money that came after we gave up; it has to go back. */
    surplus: p.boolean().default(false),
    /** Until then whoever wrote the row is calling the provider; real time. */
    leaseUntil: instant(),
    /** When the sweeper looks; business time. */
    nextCheckAt: instant().strictNullable(),
    checks: p.integer().default(0),
    /** The first of the look-ups in a row that did not find it; business time. */
    absentSince: instant().strictNullable(),
    createdAt: instant(),
    settledAt: instant().strictNullable(),
  },
});

/** One call to a provider for a payment, with the parameters frozen when the row was written. */
export class PaymentAttempt extends PaymentAttemptSchema.class {}
PaymentAttemptSchema.setClass(PaymentAttempt);

/** Whether the attempt is decided for good. */
export function isFinal(state: AttemptState): boolean {
  return state === 'SUCCEEDED' || state === 'DECLINED' || state === 'DEAD';
}

/** The key is derived, never random: a repeat after a crash is the same request to the provider. */
export function idempotencyKey(paymentId: string, attemptNumber: number): string {
  return `pay_${paymentId}_${attemptNumber}`;
}
