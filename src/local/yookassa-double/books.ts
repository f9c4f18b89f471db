import type { PageView } from '../double/page.ts';
import type { BookLine } from '../double/server.ts';
import { kopecks, type Shop } from './shop.ts';

/** Every payment, with what was taken and given back. */
export function booksOf({ payments }: Shop): BookLine[] {
  return [...payments.values()].map((payment) => {
    const metadata = payment['metadata'] as Record<string, string>;
    return {
      id: payment.id,
      kind: payment['saves'] === undefined ? 'off_session' : 'checkout',
      reference: metadata['reference'] ?? '',
      customer_reference: metadata['customer'] ?? '',
      status: payment.status === 'succeeded' ? 'succeeded' : 'other',
      amount_minor: kopecks(payment['amount']).toString(),
      refunded_minor: kopecks(payment['refunded_amount'] ?? { value: '0.00' }).toString(),
    };
  });
}

/** The page of a payment or of a binding. */
export function pageOf({ payments, methods }: Shop, id: string): PageView | undefined {
  const payment = payments.get(id);
  const object = payment ?? methods.get(id);
  if (object === undefined) return undefined;
  const amount = payment === undefined ? undefined : (payment['amount'] as { value: string; currency: string });
  return {
    title: amount === undefined ? 'Save a card' : 'Payment',
    amount: amount === undefined ? '' : `${amount.value} ${amount.currency}`,
    isOpen: object.status === 'pending',
    isConfirmation: payment?.['payment_method'] !== undefined,
  };
}
