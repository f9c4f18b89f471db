import { defineEntity, p } from '@mikro-orm/core';
import { instant } from '../db/instant-type.ts';

/** SURPLUS: nobody waited for the money. CANCELED: what a cancellation gives back. REQUESTED: an operator's decision. */
export type RefundReason = 'SURPLUS' | 'CANCELED' | 'REQUESTED';

export const RefundSchema = defineEntity({
  name: 'Refund',
  tableName: 'refund',
  properties: {
    id: p.uuid().primary(),
    attemptId: p.uuid(),
    reason: p.text().$type<RefundReason>(),
    provider: p.text(),
    merchantAccount: p.text(),
    providerPaymentId: p.text(),
    amountMinor: p.bigint(),
    currencyCode: p.text(),
    idempotencyKey: p.text(),
    /** FAILED: the provider refused it; a person has to look. */
    state: p.text().$type<'PENDING' | 'SUCCEEDED' | 'FAILED'>(),
    providerRefundId: p.text().strictNullable(),
    note: p.text().default(''),
    tries: p.integer().default(0),
    nextTryAt: instant().strictNullable(),
    /** When it was first sent under its key, as far as it may have arrived; business time. */
    keySentAt: instant().strictNullable(),
    /** Since when the provider does not know of it, though the key is about to be forgotten. */
    absentSince: instant().strictNullable(),
    leaseUntil: instant(),
    createdAt: instant(),
    settledAt: instant().strictNullable(),
  },
});

/** Money that goes back to whoever paid it. */
export class Refund extends RefundSchema.class {}
RefundSchema.setClass(Refund);
