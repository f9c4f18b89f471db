import { defineEntity, p } from '@mikro-orm/core';
import { instant } from '../db/instant-type.ts';

export const CustomerSchema = defineEntity({
  name: 'Customer',
  tableName: 'customer',
  properties: {
    userId: p.uuid().primary(),
    createdAt: instant(),
  },
});

/** Who pays: a cinema user who subscribed at least once, keyed by Auth's user id. */
export class Customer extends CustomerSchema.class {}
CustomerSchema.setClass(Customer);

export const PaymentMethodSchema = defineEntity({
  name: 'PaymentMethod',
  tableName: 'payment_method',
  properties: {
    id: p.uuid().primary(),
    userId: p.uuid(),
    provider: p.text(),
    merchantAccount: p.text(),
    providerCustomerId: p.text(),
    providerMethodId: p.text(),
    brand: p.text(),
    last4: p.text(),
    expiryMonth: p.integer(),
    expiryYear: p.integer(),
    /** Since when it must not be charged any more. */
    detachedAt: instant().strictNullable(),
    /** When the provider is told so, again; null when it knows. */
    nextDetachAt: instant().strictNullable(),
    /** Which text the viewer agreed to when it was saved, and when; null where nobody told us. */
    consentVersion: p.text().strictNullable(),
    consentedAt: instant().strictNullable(),
    createdAt: instant(),
  },
});

/** The link between a customer and a payment system that recurring payments use. */
export class PaymentMethod extends PaymentMethodSchema.class {}
PaymentMethodSchema.setClass(PaymentMethod);
