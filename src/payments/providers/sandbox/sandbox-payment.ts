import { OutcomeUnknown, type PaymentOutcome, type SavedMethod } from '../../provider.ts';

/** A payment as the payment system answers it, checked. */
export interface SandboxPayment {
  readonly id: string;
  readonly outcome: PaymentOutcome;
  readonly pageUrl: string | undefined;
  readonly expiresAt: Temporal.Instant | undefined;
}

type Fields = Record<string, unknown>;

/** Reads a payment; nothing of an answer is believed before it has the documented form. Throws OutcomeUnknown. */
export function readPayment(answer: unknown): SandboxPayment {
  try {
    const payment = fieldsOf(answer);
    const expiresAt = payment['expires_at'];
    return {
      id: text(payment, 'id'),
      outcome: outcomeOf(payment),
      pageUrl: typeof payment['page_url'] === 'string' ? payment['page_url'] : undefined,
      expiresAt: typeof expiresAt === 'string' ? Temporal.Instant.from(expiresAt) : undefined,
    };
  } catch (cause) {
    if (cause instanceof OutcomeUnknown) throw cause;
    throw new OutcomeUnknown('the payment system answered with something that is not a payment', { cause });
  }
}

function outcomeOf(payment: Fields): PaymentOutcome {
  const providerPaymentId = text(payment, 'id');
  switch (payment['status']) {
    case 'open':
      return { kind: 'waiting', providerPaymentId };
    case 'expired':
      return { kind: 'dead', providerPaymentId };
    case 'declined': {
      const hard = payment['decline_kind'] === 'hard';
      return { kind: 'declined', providerPaymentId, declineCode: text(payment, 'decline_code'), hard };
    }
    case 'succeeded': {
      const amount = { currencyCode: text(payment, 'currency'), amountMinor: BigInt(text(payment, 'amount_minor')) };
      return { kind: 'succeeded', providerPaymentId, amount, method: methodOf(payment) };
    }
    default:
      throw new OutcomeUnknown(`the payment system answered with the status ${String(payment['status'])}`);
  }
}

function methodOf(payment: Fields): SavedMethod | undefined {
  if (payment['payment_method'] === null) return undefined;
  const method = fieldsOf(payment['payment_method']);
  return {
    providerCustomerId: text(payment, 'customer'),
    providerMethodId: text(method, 'id'),
    brand: text(method, 'brand'),
    last4: text(method, 'last4'),
    expiryMonth: Number(method['expiry_month']),
    expiryYear: Number(method['expiry_year']),
  };
}

function fieldsOf(value: unknown): Fields {
  if (typeof value !== 'object' || value === null) throw new Error('not an object');
  return value as Fields;
}

function text(fields: Fields, name: string): string {
  const value = fields[name];
  if (typeof value !== 'string' || value === '' || value.length > 2048) throw new Error(`${name} is not a text`);
  return value;
}
