import { ApiError } from './api-error.ts';
import type { Books } from './books.ts';
import { verdictLater, type Verdict } from './cards.ts';
import { declineOf, prefixedId } from './checkouts.ts';
import type { KeyUse, LedgerLine, PaymentObject, SavedMethod } from './ledger-line.ts';
import { allowOnly, optionalText, readAmount, readCurrency, requiredText, type Parameters } from './parameters.ts';

const names = ['amount_minor', 'currency', 'reference', 'customer', 'payment_method', 'description'];
const detached: Verdict = { kind: 'declined', code: 'payment_method_detached', hard: true };

/** The line of a charge of a saved method without the customer. A decline is a result, not an error. */
export function chargeMethod(books: Books, parameters: Parameters, key: Omit<KeyUse, 'answered'>): LedgerLine {
  allowOnly(parameters, names);
  const { method, customerReference } = findMethod(books, parameters);
  const verdict = method.detached ? detached : verdictLater(method);
  const at = books.clock.now();
  const { id, brand, last4, expiry_month, expiry_year, fingerprint } = method;
  const isDeclined = verdict.kind === 'declined';
  const payment: PaymentObject = {
    id: prefixedId('pay'),
    kind: 'off_session',
    status: isDeclined ? 'declined' : 'succeeded',
    mode: 'payment',
    amount_minor: readAmount(parameters),
    currency: readCurrency(parameters),
    customer: method.customer,
    customer_reference: customerReference,
    payment_method: { id, brand, last4, expiry_month, expiry_year, fingerprint },
    reference: requiredText(parameters, 'reference'),
    description: optionalText(parameters, 'description'),
    ...(isDeclined ? declineOf(verdict) : { decline_code: null, decline_kind: null }),
    refunded_minor: '0',
    page_url: null,
    created_at: at,
    settled_at: at,
    expires_at: null,
  };
  const event = { id: prefixedId('evt'), type: isDeclined ? 'payment.declined' : 'payment.succeeded' } as const;
  return { type: 'charged', at, payment, key: { ...key, answered: verdict.kind !== 'paid-unanswered' }, event };
}

function findMethod(books: Books, parameters: Parameters): { method: SavedMethod; customerReference: string } {
  const customer = requiredText(parameters, 'customer');
  const id = requiredText(parameters, 'payment_method');
  const customerReference = books.state.customerReferences.get(customer);
  if (customerReference === undefined) throw new ApiError(400, 'no_such_customer', `no such customer: ${customer}`);
  const method = books.state.methods.get(id);
  if (method === undefined || method.customer !== customer) {
    throw new ApiError(400, 'no_such_payment_method', `customer ${customer} has no payment method ${id}`);
  }
  return { method, customerReference };
}
