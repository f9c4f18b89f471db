import type { PageView } from '../double/page.ts';
import type { BookLine } from '../double/server.ts';
import type { Store, StripeObject } from './store.ts';

/** Every intent, with what was taken and given back: a page without one has moved no money. */
export function booksOf(store: Store): BookLine[] {
  const objects = [...store.objects.values()];
  const pages = new Map(
    objects.filter(({ object }) => object === 'checkout.session').map((page) => [page['payment_intent'], page]),
  );
  return objects
    .filter(({ object }) => object === 'payment_intent')
    .map((intent) => {
      const metadata = intent['metadata'] as Record<string, string>;
      const charge = store.objects.get(String(intent['latest_charge']));
      return {
        id: pages.get(intent.id)?.id ?? intent.id,
        kind: metadata['via'] === 'page' ? 'checkout' : 'off_session',
        reference: metadata['reference'] ?? '',
        customer_reference: store.customerReferences.get(String(intent['customer'])) ?? '',
        status: intent['status'] === 'succeeded' ? 'succeeded' : 'other',
        amount_minor: String(intent['amount']),
        refunded_minor: String(charge?.['amount_refunded'] ?? 0),
      };
    });
}

/** The page of a session, or of an intent that the bank asks about. */
export function pageOf(store: Store, id: string): PageView | undefined {
  const object = store.objects.get(id);
  if (object?.object === 'checkout.session') {
    return view(object, object['amount_total'], object['status'] === 'open', false);
  }
  if (object?.object !== 'payment_intent') return undefined;
  return view(object, object['amount'], object['status'] === 'requires_action', true);
}

function view(object: StripeObject, minor: unknown, isOpen: boolean, isConfirmation: boolean): PageView {
  const amount =
    typeof minor === 'number' ? `${(minor / 100).toFixed(2)} ${String(object['currency']).toUpperCase()}` : '';
  return { title: amount === '' ? 'Save a card' : 'Payment', amount, isOpen, isConfirmation };
}
