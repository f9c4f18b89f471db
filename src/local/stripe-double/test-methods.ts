import { createHash } from 'node:crypto';
import type { DoubleCard } from '../double/cards.ts';
import { requiredAt, textAt, type Tree } from './parameters.ts';
import { missing } from './refusal.ts';
import type { Store, StripeObject } from './store.ts';

/** Methods that Stripe's test mode has for everybody (docs.stripe.com/testing), by what their cards do. */
const testMethods: Readonly<Record<string, DoubleCard>> = {
  pm_card_visa: 'good',
  pm_card_chargeCustomerFail: 'no funds later',
};

export function createCustomer(store: Store, tree: Tree): StripeObject {
  return store.add('cus', 'customer', { description: textAt(tree, 'description') ?? null });
}

/** Gives a customer a method of their own that is like the test method. Throws StripeRefusal for any other one. */
export function attachTestMethod(store: Store, id: string, tree: Tree): StripeObject {
  const card = testMethods[id];
  if (card === undefined) throw missing('PaymentMethod', id);
  const customer = requiredAt(tree, 'customer');
  if (store.objects.get(customer)?.object !== 'customer') throw missing('customer', customer, 400, 'customer');
  return saveCard(store, customer, card);
}

/** A saved card; without a customer, one that was used once. */
export function saveCard(store: Store, customer: string | null, card: DoubleCard): StripeObject {
  const fingerprint = createHash('sha256').update(card).digest('hex').slice(0, 16);
  const method = store.add('pm', 'payment_method', {
    type: 'card',
    customer,
    card: { brand: 'visa', last4: '4242', exp_month: 12, exp_year: 2049, fingerprint },
  });
  store.cards.set(method.id, card);
  return method;
}
