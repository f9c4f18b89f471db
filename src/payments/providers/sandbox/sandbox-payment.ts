import {
  OutcomeUnknown,
  type ListedPayment,
  type PaymentOutcome,
  type PaymentPage,
  type SavedMethod,
} from '../../provider.ts';
import { fieldsOf, idForm, text, whole, type Fields } from './sandbox-fields.ts';

/** A payment as the payment system answers it, checked. */
export interface SandboxPayment {
  readonly outcome: PaymentOutcome & { readonly providerPaymentId: string };
  /** Where the customer pays; http or https. */
  readonly pageUrl: string | undefined;
  readonly expiresAt: Temporal.Instant | undefined;
}

/** What was asked for: an answer about another payment is none. */
export interface ExpectedPayment {
  readonly id?: string | undefined;
  readonly reference?: string;
  readonly kind?: 'checkout' | 'off_session';
}

const amountForm = /^[1-9][0-9]{0,17}$/;
const listedAmountForm = /^(0|[1-9][0-9]{0,17})$/;
const currencyForm = /^[A-Z]{3}$/;
const brandForm = /^[\p{L}\p{N} ._-]{1,64}$/u;

/** Reads a payment; nothing of an answer is believed before it has the documented form. Throws OutcomeUnknown. */
export function readPayment(answer: unknown, expected: ExpectedPayment): SandboxPayment {
  try {
    const payment = fieldsOf(answer);
    const { id = payment['id'], reference = payment['reference'], kind = payment['kind'] } = expected;
    if (payment['id'] !== id || payment['reference'] !== reference || payment['kind'] !== kind) {
      throw new Error('another payment than the one that was asked for');
    }
    const { page_url: pageUrl, expires_at: expiresAt } = payment;
    return {
      outcome: outcomeOf(payment),
      pageUrl: pageUrl === null ? undefined : readPageUrl(pageUrl),
      expiresAt: expiresAt === null ? undefined : Temporal.Instant.from(expiresAt as string),
    };
  } catch (cause) {
    throw new OutcomeUnknown('the payment system answered with something that is not the payment', { cause });
  }
}

/** Reads a list of the payments with our reference. Throws OutcomeUnknown. */
export function readPaymentOf(answer: unknown, reference: string): PaymentOutcome | undefined {
  const data = (answer as { data?: unknown } | null | undefined)?.data;
  if (!Array.isArray(data)) throw new OutcomeUnknown('the payment system answered without a list');
  const found = data.map((payment) => readPayment(payment, { reference }).outcome);
  // Should there ever be more than one, the one with the money counts.
  return found.find(({ kind }) => kind === 'succeeded') ?? found[0];
}

/** Reads a page of the list of all payments. Throws OutcomeUnknown. */
export function readPage(answer: unknown): PaymentPage {
  try {
    const { data, has_more: hasMore } = fieldsOf(answer);
    if (!Array.isArray(data) || typeof hasMore !== 'boolean') throw new Error('not a page');
    const payments = data.map(readListed);
    const last = payments.at(-1)?.providerPaymentId;
    if (hasMore && last === undefined) throw new Error('an empty page cannot have a next one');
    return { payments, nextCursor: hasMore ? last : undefined };
  } catch (cause) {
    throw new OutcomeUnknown('the payment system answered with something that is not a list of payments', { cause });
  }
}

function readListed(value: unknown): ListedPayment {
  const payment = fieldsOf(value);
  const reference = payment['reference'];
  if (typeof reference !== 'string') throw new Error('reference is not a text');
  return {
    providerPaymentId: text(payment, 'id', idForm),
    reference,
    status: outcomeOf(payment).kind,
    amount: {
      currencyCode: text(payment, 'currency', currencyForm),
      amountMinor: BigInt(text(payment, 'amount_minor', listedAmountForm)),
    },
    refundedMinor: refundedOf(payment),
    createdAt: Temporal.Instant.from(text(payment, 'created_at', idForm)),
  };
}

function refundedOf(payment: Fields): bigint {
  return BigInt(text(payment, 'refunded_minor', listedAmountForm));
}

function outcomeOf(payment: Fields): SandboxPayment['outcome'] {
  const providerPaymentId = text(payment, 'id', idForm);
  const isSetup = payment['kind'] === 'checkout' && payment['mode'] === 'setup';
  const amount = {
    currencyCode: text(payment, 'currency', currencyForm),
    amountMinor: BigInt(text(payment, 'amount_minor', isSetup ? /^0$/ : amountForm)),
  };
  const kind = isSetup ? 'setup' : String(payment['kind']);
  switch (`${kind} ${String(payment['status'])}`) {
    case 'checkout open':
    case 'setup open':
    case 'off_session processing':
      return { kind: 'waiting', providerPaymentId };
    case 'off_session requires_action':
      return { kind: 'waiting', providerPaymentId, actionUrl: readPageUrl(payment['action_url']) };
    case 'checkout expired':
    case 'setup expired':
    case 'off_session expired':
    case 'off_session canceled':
      return { kind: 'dead', providerPaymentId };
    case 'checkout declined':
    case 'off_session declined': {
      const hard = text(payment, 'decline_kind', /^(soft|hard)$/) === 'hard';
      return { kind: 'declined', providerPaymentId, declineCode: text(payment, 'decline_code', idForm), hard };
    }
    case 'checkout succeeded':
    case 'off_session succeeded':
      return {
        kind: 'succeeded',
        providerPaymentId,
        amount,
        refundedMinor: refundedOf(payment),
        method: methodOf(payment),
      };
    case 'setup succeeded': {
      const method = methodOf(payment);
      if (method === undefined) throw new Error('a set-up that saved nothing');
      return { kind: 'method saved', providerPaymentId, method };
    }
    default:
      throw new Error('not a kind and status of a payment');
  }
}

function methodOf(payment: Fields): SavedMethod | undefined {
  if (payment['payment_method'] === null) return undefined;
  const method = fieldsOf(payment['payment_method']);
  return {
    providerCustomerId: text(payment, 'customer', idForm),
    providerMethodId: text(method, 'id', idForm),
    brand: text(method, 'brand', brandForm),
    last4: text(method, 'last4', /^[0-9]{4}$/),
    expiryMonth: whole(method, 'expiry_month', 1, 12),
    expiryYear: whole(method, 'expiry_year', 2000, 2100),
    fingerprint: text(method, 'fingerprint', idForm),
  };
}

/** The customer's browser is sent there. */
function readPageUrl(value: unknown): string {
  const url = typeof value === 'string' && value.length <= 2048 ? URL.parse(value) : null;
  if (url?.protocol !== 'http:' && url?.protocol !== 'https:') throw new Error('not an address of a page');
  return url.href;
}
