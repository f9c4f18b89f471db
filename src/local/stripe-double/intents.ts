import { amountAt, requiredAt, textAt, valuesAt, type Tree } from './parameters.ts';
import { missing, StripeRefusal } from './refusal.ts';
import type { DoubleCard } from '../double/cards.ts';
import type { Store, StripeObject } from './store.ts';

const declineCodes: Partial<Record<DoubleCard, { code: string; decline_code: string }>> = {
  'no funds later': { code: 'card_declined', decline_code: 'insufficient_funds' },
  'stolen later': { code: 'card_declined', decline_code: 'stolen_card' },
};

/** `as`: the card is charged as if it were that one. */
export function createIntent(store: Store, tree: Tree, as?: DoubleCard): StripeObject {
  const method = requiredAt(tree, 'payment_method');
  const customer = requiredAt(tree, 'customer');
  if (textAt(tree, 'off_session') === 'true' && textAt(tree, 'confirm') !== 'true') {
    throw new StripeRefusal(400, 'parameter_invalid', 'off_session needs confirm', 'off_session');
  }
  const card = attachedCard(store, method, customer);
  const intent = store.add('pi', 'payment_intent', {
    amount: amountAt(tree, 'amount'),
    amount_received: 0,
    currency: requiredAt(tree, 'currency'),
    customer,
    payment_method: method,
    latest_charge: null as string | null,
    last_payment_error: null,
    next_action: null,
    metadata: valuesAt(tree, 'metadata'),
    description: textAt(tree, 'description') ?? null,
    status: 'requires_confirmation',
  });
  return confirm(store, intent, as ?? card, textAt(tree, 'off_session') === 'true', undefined);
}

export function confirmIntent(store: Store, intent: StripeObject, tree: Tree): StripeObject {
  if (!['requires_payment_method', 'requires_confirmation'].includes(String(intent['status']))) {
    throw new StripeRefusal(400, 'payment_intent_unexpected_state', 'this PaymentIntent cannot be confirmed');
  }
  const method = textAt(tree, 'payment_method') ?? String(intent['payment_method']);
  const card = attachedCard(store, method, String(intent['customer']));
  intent['payment_method'] = method;
  const offSession = textAt(tree, 'off_session') === 'true';
  if (!offSession) requiredAt(tree, 'return_url');
  return confirm(store, intent, card, offSession, textAt(tree, 'return_url'));
}

export function cancelIntent(store: Store, intent: StripeObject): StripeObject {
  if (['succeeded', 'processing', 'canceled'].includes(String(intent['status']))) {
    throw new StripeRefusal(400, 'payment_intent_unexpected_state', 'this PaymentIntent cannot be canceled');
  }
  Object.assign(intent, { status: 'canceled', next_action: null });
  store.tell('payment_intent.canceled', intent);
  return intent;
}

function confirm(
  store: Store,
  intent: StripeObject,
  card: DoubleCard,
  offSession: boolean,
  returnUrl: string | undefined,
): StripeObject {
  const decline = declineCodes[card];
  if (decline !== undefined) throw declined(store, intent, decline);
  if (card === 'needs customer' && offSession) {
    throw declined(store, intent, { code: 'authentication_required', decline_code: 'authentication_required' });
  }
  if (card === 'needs customer') {
    const url = `${store.baseUrl()}/authenticate/${intent.id}`;
    const action = { type: 'redirect_to_url', redirect_to_url: { url, return_url: returnUrl ?? null } };
    Object.assign(intent, { status: 'requires_action', next_action: action, last_payment_error: null });
    store.tell('payment_intent.requires_action', intent);
    return intent;
  }
  if (card === 'processing later') return Object.assign(intent, { status: 'processing' });
  take(store, intent);
  if (card === 'error later')
    throw new StripeRefusal(500, '', 'something went wrong', undefined, { type: 'api_error' });
  return intent;
}

/** The money moves: once per intent. */
export function take(store: Store, intent: StripeObject): StripeObject {
  if (intent['status'] === 'succeeded') throw new Error('taken twice');
  const { amount, currency } = intent;
  const charge = store.add('ch', 'charge', { amount, amount_refunded: 0, currency, payment_intent: intent.id });
  Object.assign(intent, {
    status: 'succeeded',
    amount_received: amount,
    latest_charge: charge.id,
    next_action: null,
    last_payment_error: null,
  });
  store.tell('payment_intent.succeeded', intent);
  return intent;
}

function declined(store: Store, intent: StripeObject, codes: { code: string; decline_code: string }): StripeRefusal {
  const error = { type: 'card_error', ...codes, message: 'Your card was declined.' };
  Object.assign(intent, { status: 'requires_payment_method', last_payment_error: error });
  store.tell('payment_intent.payment_failed', intent);
  const more = { decline_code: codes.decline_code, payment_intent: { ...intent } };
  return new StripeRefusal(402, codes.code, error.message, undefined, { type: 'card_error', ...more });
}

function attachedCard(store: Store, method: string, customer: string): DoubleCard {
  const found = store.objects.get(method);
  if (found === undefined) throw missing('PaymentMethod', method, 400, 'payment_method');
  if (found['customer'] !== customer) {
    const message = 'The PaymentMethod is not attached to the customer and may not be used again.';
    throw new StripeRefusal(400, 'payment_method_unexpected_state', message);
  }
  return store.cards.get(method)!;
}
