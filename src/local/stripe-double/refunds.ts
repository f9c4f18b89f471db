import { amountAt, requiredAt, valuesAt, type Tree } from './parameters.ts';
import { missing, StripeRefusal } from './refusal.ts';
import type { Store, StripeObject } from './store.ts';

export function createRefund(store: Store, tree: Tree, status: string): StripeObject {
  const id = requiredAt(tree, 'payment_intent');
  const intent = store.objects.get(id);
  if (intent === undefined) throw missing('payment_intent', id, 404, 'payment_intent');
  const charge = store.objects.get(String(intent['latest_charge']));
  if (charge === undefined) {
    throw new StripeRefusal(400, '', 'This PaymentIntent does not have a successful charge to refund.');
  }
  const amount = amountAt(tree, 'amount');
  const left = Number(charge['amount']) - Number(charge['amount_refunded']);
  if (left === 0) throw new StripeRefusal(400, 'charge_already_refunded', 'The charge has already been refunded.');
  if (amount > left) throw new StripeRefusal(400, '', 'Refund amount is greater than unrefunded amount on charge');
  if (status !== 'failed') charge['amount_refunded'] = Number(charge['amount_refunded']) + amount;
  return store.add('re', 'refund', {
    amount,
    currency: charge['currency'],
    charge: charge.id,
    payment_intent: id,
    metadata: valuesAt(tree, 'metadata'),
    status,
    failure_reason: undefined,
  });
}
