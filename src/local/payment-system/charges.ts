import { ApiError } from './api-error.ts';
import type { Books } from './books.ts';
import { verdictLater, type Verdict } from './cards.ts';
import { declineOf, prefixedId } from './checkouts.ts';
import type { Decided } from './idempotency.ts';
import type {
  EventType,
  KeyUse,
  LedgerLine,
  PaymentMethodObject,
  PaymentObject,
  PaymentStatus,
  SavedMethod,
} from './ledger-line.ts';
import { nextPlay } from './next-play.ts';
import { allowOnly, optionalText, readAmount, readCurrency, requiredText, type Parameters } from './parameters.ts';
import { isoOf } from './test-clock.ts';

const names = ['amount_minor', 'currency', 'reference', 'customer', 'payment_method', 'description'];
/** A card that was detached and one that never was are the same to a merchant: it cannot be charged, ever. */
const detached: Verdict = { kind: 'declined', code: 'payment_method_detached', hard: true };
const actionLifetimeMs = 23 * 3_600_000;
/** What is under way ends that much later, by the test clock. */
export const processingMs = 3_600_000;

const outcomes = {
  paid: { status: 'succeeded', event: 'payment.succeeded' },
  'paid-unanswered': { status: 'succeeded', event: 'payment.succeeded' },
  declined: { status: 'declined', event: 'payment.declined' },
  'action-required': { status: 'requires_action', event: 'payment.action_required' },
  processing: { status: 'processing', event: undefined },
} as const satisfies Record<Verdict['kind'], { status: PaymentStatus; event: EventType | undefined }>;

/** A charge of a saved method without the customer. A decline is a result, not an error. */
export function chargeMethod(
  books: Books,
  parameters: Parameters,
  pageBaseUrl: string,
  key: Omit<KeyUse, 'answered'>,
): Decided {
  allowOnly(parameters, names);
  const { method, customer, customerReference } = findMethod(books, parameters);
  const { delayMs, used, fault, isStored = false, ...play } = nextPlay(books.state, customerReference, key.key);
  if (fault !== undefined && play.verdict === undefined) {
    const stored = isStored && { key: { ...key, answered: true, failed: true } };
    return { line: { type: 'fault_played', at: books.clock.now(), ...used, ...stored }, fault, delayMs };
  }
  const verdict = method === undefined || method.detached ? detached : (play.verdict ?? verdictLater(method));
  const { status, event } = outcomes[verdict.kind];
  const id = prefixedId('pay');
  const nowMs = books.clock.nowMs();
  const at = isoOf(nowMs);
  const needsAction = status === 'requires_action';
  const payment: PaymentObject = {
    id,
    kind: 'off_session',
    mode: 'payment',
    status,
    amount_minor: readAmount(parameters),
    currency: readCurrency(parameters),
    customer,
    customer_reference: customerReference,
    payment_method: method === undefined ? null : shownMethod(method),
    reference: requiredText(parameters, 'reference'),
    description: optionalText(parameters, 'description'),
    ...(verdict.kind === 'declined' ? declineOf(verdict) : { decline_code: null, decline_kind: null }),
    refunded_minor: '0',
    page_url: null,
    action_url: needsAction ? `${pageBaseUrl}/pay/${id}` : null,
    created_at: at,
    settled_at: needsAction || status === 'processing' ? null : at,
    expires_at: needsAction ? isoOf(nowMs + actionLifetimeMs) : null,
  };
  const line: LedgerLine = {
    type: 'charged',
    at,
    payment,
    ...used,
    key: {
      ...key,
      answered: verdict.kind !== 'paid-unanswered',
      ...(isStored && fault === 'internal_error' && { failed: true }),
    },
    ...(event && { event: { id: prefixedId('evt'), type: event } }),
    ...(status === 'processing' && { ending: { at: isoOf(nowMs + processingMs), succeeds: true } }),
  };
  return { line, delayMs, ...(fault && { fault }) };
}

interface Charged {
  readonly customer: string;
  readonly customerReference: string;
  /** Undefined when the customer has no such card. */
  readonly method: SavedMethod | undefined;
}

function findMethod(books: Books, parameters: Parameters): Charged {
  const customer = requiredText(parameters, 'customer');
  const id = requiredText(parameters, 'payment_method');
  const customerReference = books.state.customerReferences.get(customer);
  if (customerReference === undefined) throw new ApiError(400, 'no_such_customer', `no such customer: ${customer}`);
  const method = books.state.methods.get(id);
  return { customer, customerReference, method: method?.customer === customer ? method : undefined };
}

/** How it behaves is the system's secret. */
function shownMethod({ id, brand, last4, expiry_month, expiry_year, fingerprint }: SavedMethod): PaymentMethodObject {
  return { id, brand, last4, expiry_month, expiry_year, fingerprint };
}
