import { take } from './intents.ts';
import { amountAt, requiredAt, textAt, valuesAt, type Tree } from './parameters.ts';
import { StripeRefusal } from './refusal.ts';
import type { DoubleCard } from '../double/cards.ts';
import type { Store, StripeObject } from './store.ts';
import { saveCard } from './test-methods.ts';

const pageLifeS = 86_400;

export function createSession(store: Store, tree: Tree): StripeObject {
  const mode = requiredAt(tree, 'mode');
  requiredAt(tree, 'success_url');
  const isSetup = mode === 'setup';
  if (mode !== 'payment' && !isSetup) throw new StripeRefusal(400, 'parameter_invalid', 'mode', 'mode');
  if (isSetup && (tree['line_items'] ?? tree['payment_intent_data']) !== undefined) {
    throw new StripeRefusal(400, 'parameter_invalid', 'not in setup mode', 'line_items');
  }
  if (!isSetup && tree['setup_intent_data'] !== undefined) {
    throw new StripeRefusal(400, 'parameter_invalid', 'only in setup mode', 'setup_intent_data');
  }
  const price = ['line_items', '0', 'price_data'] as const;
  if (!isSetup) requiredAt(tree, ...price, 'product_data', 'name');
  const session = store.add('cs_test', 'checkout.session', {
    mode,
    status: 'open',
    payment_status: isSetup ? 'no_payment_required' : 'unpaid',
    amount_total: isSetup
      ? null
      : amountAt(tree, ...price, 'unit_amount') * amountAt(tree, 'line_items', '0', 'quantity'),
    currency: isSetup ? null : requiredAt(tree, ...price, 'currency'),
    customer: null,
    payment_intent: null,
    setup_intent: null,
    metadata: valuesAt(tree, 'metadata'),
    client_reference_id: textAt(tree, 'client_reference_id') ?? null,
    expires_at: Math.floor(Date.now() / 1000) + pageLifeS,
  });
  store.pageTrees.set(session.id, tree);
  return Object.assign(session, { url: `${store.baseUrl()}/c/pay/${session.id}` });
}

export function expireSession(store: Store, session: StripeObject): StripeObject {
  if (session['status'] !== 'open') {
    throw new StripeRefusal(400, '', 'Only Checkout Sessions with a status of open can be expired.');
  }
  Object.assign(session, { status: 'expired', url: null });
  store.tell('checkout.session.expired', session);
  return session;
}

/** A customer types a card on the page; each card pays there. Answers false where the page is closed. */
export function payPage(store: Store, session: StripeObject, card: DoubleCard): boolean {
  if (session['status'] !== 'open') return false;
  const tree = store.pageTrees.get(session.id)!;
  const customer = textAt(tree, 'customer_creation') === 'always' ? store.add('cus', 'customer', {}).id : null;
  const reference = (session['metadata'] as Record<string, string>)['customer'];
  if (customer !== null && reference !== undefined) store.customerReferences.set(customer, reference);
  const isSetup = session['mode'] === 'setup';
  const data = tree[isSetup ? 'setup_intent_data' : 'payment_intent_data'];
  const intentData = typeof data === 'object' ? data : {};
  const isSaved = isSetup || textAt(intentData, 'setup_future_usage') === 'off_session';
  const method = saveCard(store, isSaved ? customer : null, card);
  const common = { customer, payment_method: method.id, metadata: valuesAt(intentData, 'metadata') };
  if (isSetup) {
    const intent = store.add('seti', 'setup_intent', { ...common, status: 'succeeded' });
    Object.assign(session, { status: 'complete', customer, setup_intent: intent.id, url: null });
    store.tell('checkout.session.completed', session);
    return true;
  }
  const intent = store.add('pi', 'payment_intent', {
    ...common,
    amount: session['amount_total'],
    amount_received: 0,
    currency: session['currency'],
    latest_charge: null,
    last_payment_error: null,
    next_action: null,
    status: 'requires_confirmation',
  });
  take(store, intent);
  const paid = { status: 'complete', payment_status: 'paid', customer, payment_intent: intent.id, url: null };
  Object.assign(session, paid);
  store.tell('checkout.session.completed', session);
  return true;
}
