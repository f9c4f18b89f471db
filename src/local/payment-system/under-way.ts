import type { Books } from './books.ts';
import { declineOf, prefixedId } from './checkouts.ts';
import type { Ending, LedgerLine, PaymentObject } from './ledger-line.ts';
import { endRefund } from './refunds.ts';

/** The line of a customer's answer to a charge that asks for it (3-D Secure). */
export function answerAction(books: Books, payment: PaymentObject, isConfirmed: boolean): LedgerLine {
  const at = books.clock.now();
  const refused = { kind: 'declined', code: 'authentication_failed', hard: false } as const;
  return {
    type: 'action_answered',
    at,
    payment: {
      ...payment,
      ...(isConfirmed ? { status: 'succeeded' } : { status: 'declined', ...declineOf(refused) }),
      settled_at: at,
    },
    event: { id: prefixedId('evt'), type: isConfirmed ? 'payment.succeeded' : 'payment.declined' },
  };
}

/** The line that kills a charge that waits for its customer; undefined when it waits for nobody, or is over. */
export function cancelCharge(books: Books, payment: PaymentObject): LedgerLine | undefined {
  if (payment.status !== 'requires_action') return undefined;
  const at = books.clock.now();
  return {
    type: 'charge_canceled',
    at,
    payment: { ...payment, status: 'canceled', settled_at: at },
    event: { id: prefixedId('evt'), type: 'payment.canceled' },
  };
}

/** The line of a charge or refund that was under way and ends now. */
export function endByItself(books: Books, id: string, { succeeds }: Ending): LedgerLine {
  const refund = books.state.refunds.get(id);
  if (refund !== undefined) return endRefund(books, refund, succeeds);
  const at = books.clock.now();
  const payment = books.state.payments.get(id)!;
  return {
    type: 'charge_settled',
    at,
    payment: { ...payment, status: 'succeeded', settled_at: at },
    event: { id: prefixedId('evt'), type: 'payment.succeeded' },
  };
}
