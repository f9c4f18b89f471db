import { newId } from '../../lib/ids.ts';
import { ApiError } from './api-error.ts';
import type { Books } from './books.ts';
import { verdictOnPage, type Card, type Verdict } from './cards.ts';
import type { KeyUse, LedgerLine, PaymentObject, SavedMethod } from './ledger-line.ts';
import {
  allowOnly,
  optionalText,
  readAmount,
  readCurrency,
  readMode,
  readReturnUrl,
  readWhole,
  requiredText,
  type Parameters,
} from './parameters.ts';
import { isoOf } from './test-clock.ts';

const names = [
  'mode',
  'amount_minor',
  'currency',
  'reference',
  'customer_reference',
  'description',
  'return_url',
  'expires_in_s',
];
const expiryS = { min: 1, max: 30 * 86_400, otherwise: 82_800 };

/** The line that opens a hosted page: of a payment, or of a set-up, which saves a card and takes nothing. The same customer reference always gives the same customer. */
export function openCheckout(books: Books, parameters: Parameters, pageBaseUrl: string, key: KeyUse): LedgerLine {
  allowOnly(parameters, names);
  const nowMs = books.clock.nowMs();
  const id = prefixedId('pay');
  const customerReference = requiredText(parameters, 'customer_reference');
  const lifetimeS = readWhole(parameters['expires_in_s'], 'expires_in_s', expiryS);
  const returnUrl = readReturnUrl(parameters);
  const mode = readMode(parameters);
  const payment: PaymentObject = {
    id,
    kind: 'checkout',
    mode,
    status: 'open',
    amount_minor: mode === 'setup' ? noAmount(parameters) : readAmount(parameters),
    currency: readCurrency(parameters),
    customer: books.state.customers.get(customerReference) ?? prefixedId('cus'),
    customer_reference: customerReference,
    payment_method: null,
    reference: requiredText(parameters, 'reference'),
    description: optionalText(parameters, 'description'),
    decline_code: null,
    decline_kind: null,
    refunded_minor: '0',
    page_url: `${pageBaseUrl}/pay/${id}`,
    action_url: null,
    created_at: isoOf(nowMs),
    settled_at: null,
    expires_at: isoOf(nowMs + lifetimeS * 1_000),
  };
  return { type: 'checkout_opened', at: isoOf(nowMs), payment, return_url: returnUrl, key };
}

function noAmount(parameters: Parameters): string {
  if (parameters['amount_minor'] === undefined) return '0';
  throw new ApiError(400, 'amount_invalid', 'a set-up takes no amount_minor');
}

/** The line of a customer's try to pay an open checkout. After a decline the page stays open for another card. */
export function tryCard(
  books: Books,
  payment: PaymentObject,
  card: Card,
  verdict: Verdict = verdictOnPage(card),
): LedgerLine {
  const at = books.clock.now();
  if (verdict.kind === 'declined') {
    const declined: PaymentObject = { ...payment, ...declineOf(verdict) };
    return {
      type: 'card_tried',
      at,
      payment: declined,
      card,
      event: { id: prefixedId('evt'), type: 'payment.declined' },
    };
  }
  const { behaviour, ...shown } = card;
  const payment_method = { id: prefixedId('pm'), ...shown };
  const method: SavedMethod = { ...payment_method, customer: payment.customer, behaviour, detached: false };
  const succeeded: PaymentObject = {
    ...payment,
    status: 'succeeded',
    payment_method,
    decline_code: null,
    decline_kind: null,
    settled_at: at,
  };
  const event = { id: prefixedId('evt'), type: 'payment.succeeded' } as const;
  return { type: 'card_tried', at, payment: succeeded, card, method, event };
}

/** The line that ends a page: nothing comes through it any more. */
export function expireCheckout(books: Books, payment: PaymentObject): LedgerLine {
  const at = books.clock.now();
  return {
    type: 'checkout_expired',
    at,
    payment: { ...payment, status: 'expired', settled_at: at },
    event: { id: prefixedId('evt'), type: 'payment.expired' },
  };
}

/** How a payment shows a decline. */
export function declineOf(
  verdict: Verdict & { kind: 'declined' },
): Pick<PaymentObject, 'decline_code' | 'decline_kind'> {
  return { decline_code: verdict.code, decline_kind: verdict.hard ? 'hard' : 'soft' };
}

/** A new id that says what it is of: `pay_0198…`. Later ones sort later. */
export function prefixedId(prefix: 'pay' | 'cus' | 'pm' | 're' | 'dp' | 'evt'): string {
  return `${prefix}_${newId().replaceAll('-', '')}`;
}
