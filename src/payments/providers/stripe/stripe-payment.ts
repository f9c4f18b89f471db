import type { Stripe } from 'stripe';
import type { Money } from '../../../lib/money.ts';
import { OutcomeUnknown, type PaymentOutcome, type SavedMethod } from '../../provider.ts';

/** What was asked for: an answer about another payment is none. */
export interface Expected {
  readonly id?: string | undefined;
  readonly reference?: string;
}

export type KnownOutcome = PaymentOutcome & { readonly providerPaymentId: string };

/**
 * Declines after which the same card is not to be tried again: those that Stripe's own retries stop at
 * (docs.stripe.com/billing/revenue-recovery/smart-retries), and a card that has expired.
 */
const hardDeclines: ReadonlySet<string> = new Set([
  'expired_card',
  'highest_risk_level',
  'incorrect_number',
  'invalid_account',
  'invalid_number',
  'lost_card',
  'pickup_card',
  'revocation_of_all_authorizations',
  'revocation_of_authorization',
  'stolen_card',
  'stop_payment_order',
  'transaction_not_allowed',
]);
/** Stripe counts these in hundredths although they have none (docs.stripe.com/currencies); we do not sell in them. */
const oddCurrencies: ReadonlySet<string> = new Set(['ISK', 'UGX']);
const idForm = /^[\x21-\x7e]{1,255}$/;
const codeForm = /^[a-z0-9_]{1,64}$/;

/** An amount in Stripe's fields; undefined where it cannot be said in them. */
export function stripeAmount({ currencyCode, amountMinor }: Money): { amount: number; currency: string } | undefined {
  if (amountMinor < 0n || amountMinor > 99_999_999n || oddCurrencies.has(currencyCode)) return undefined;
  return { amount: Number(amountMinor), currency: currencyCode.toLowerCase() };
}

/** Reads an amount as Stripe gives it. Throws where it is none. */
export function moneyOf(amount: unknown, currency: unknown): Money {
  if (!Number.isSafeInteger(amount) || (amount as number) < 0) throw new Error('not an amount');
  if (typeof currency !== 'string' || !/^[a-z]{3}$/.test(currency)) throw new Error('not a currency');
  return { currencyCode: currency.toUpperCase(), amountMinor: BigInt(amount as number) };
}

/** Reads a payment without the customer, its method expanded. Throws OutcomeUnknown. */
export function readIntent(intent: Stripe.PaymentIntent, expected: Expected): KnownOutcome {
  return checked(() => {
    assertExpected(intent, expected);
    return intentOutcome(intent);
  });
}

/** Reads a page, its intent and method expanded. The payment keeps the page's id. Throws OutcomeUnknown. */
export function readSession(session: Stripe.Checkout.Session, expected: Expected): KnownOutcome {
  return checked(() => {
    assertExpected(session, expected);
    const providerPaymentId = idOf(session);
    if (session.status === 'open') return { kind: 'waiting', providerPaymentId };
    if (session.status === 'expired') return { kind: 'dead', providerPaymentId };
    if (session.status !== 'complete') throw new Error('not a status of a page');
    if (session.mode === 'setup') return setupOutcome(session, providerPaymentId);
    if (session.payment_status !== 'paid') return { kind: 'waiting', providerPaymentId };
    const intent = session.payment_intent;
    if (typeof intent !== 'object' || intent === null) throw new Error('a paid page without its intent');
    return { ...intentOutcome(intent), providerPaymentId };
  });
}

/** The decline that a call ended with, of a charge that Stripe keeps as an intent. Throws OutcomeUnknown. */
export function readDecline(error: unknown, expected: Expected): KnownOutcome {
  const { payment_intent: intent } = error as { payment_intent?: Stripe.PaymentIntent };
  if (intent === undefined) throw new OutcomeUnknown('Stripe declined a charge without saying which', { cause: error });
  return readIntent(intent, expected);
}

function checked(read: () => KnownOutcome): KnownOutcome {
  try {
    return read();
  } catch (cause) {
    throw new OutcomeUnknown('Stripe answered with something that is not the payment', { cause });
  }
}

function assertExpected(object: Stripe.PaymentIntent | Stripe.Checkout.Session, { id, reference }: Expected): void {
  const isOther =
    (id !== undefined && object.id !== id) || (reference !== undefined && object.metadata?.['reference'] !== reference);
  if (isOther) throw new Error('another payment than the one that was asked for');
}

function intentOutcome(intent: Stripe.PaymentIntent): KnownOutcome {
  const providerPaymentId = idOf(intent);
  switch (intent.status) {
    case 'succeeded':
      return {
        kind: 'succeeded',
        providerPaymentId,
        amount: moneyOf(intent.amount_received, intent.currency),
        refundedMinor: refundedOf(intent),
        method: methodOf(intent.payment_method, intent.customer),
      };
    case 'requires_action': {
      const actionUrl = pageUrlOf(intent.next_action?.redirect_to_url?.url);
      return { kind: 'waiting', providerPaymentId, ...(actionUrl !== undefined && { actionUrl }) };
    }
    case 'processing':
      return { kind: 'waiting', providerPaymentId };
    case 'canceled':
      return { kind: 'dead', providerPaymentId };
    case 'requires_payment_method':
      return { kind: 'declined', providerPaymentId, ...declineOf(intent.last_payment_error) };
    default:
      throw new Error('not a status of a payment that is taken at once');
  }
}

/** What has gone back of the intent's money, its charge expanded. Throws where it is not. */
export function refundedOf(intent: Stripe.PaymentIntent | null): bigint {
  const charge = intent?.latest_charge ?? null;
  if (charge === null) return 0n;
  if (typeof charge === 'string') throw new Error('a charge that is not expanded');
  return moneyOf(charge.amount_refunded, charge.currency).amountMinor;
}

function declineOf(error: Stripe.PaymentIntent.LastPaymentError | null): { declineCode: string; hard: boolean } {
  if (error === null) throw new Error('a payment that was never tried');
  const declineCode = error.decline_code ?? error.code ?? '';
  if (!codeForm.test(declineCode)) throw new Error('a decline without its code');
  const hard =
    error.advice_code === 'do_not_try_again' || hardDeclines.has(declineCode) || hardDeclines.has(error.code ?? '');
  return { declineCode, hard };
}

function setupOutcome(session: Stripe.Checkout.Session, providerPaymentId: string): KnownOutcome {
  const intent = session.setup_intent;
  if (typeof intent !== 'object' || intent === null) throw new Error('a finished set-up without its intent');
  if (intent.status !== 'succeeded') return { kind: 'waiting', providerPaymentId };
  const method = methodOf(intent.payment_method, session.customer);
  if (method === undefined) throw new Error('a finished set-up without a method');
  return { kind: 'method saved', providerPaymentId, method };
}

function methodOf(
  method: Stripe.PaymentIntent['payment_method'],
  customer: string | { id: string } | null,
): SavedMethod | undefined {
  if (method === null || customer === null) return undefined;
  if (typeof method === 'string' || method.card === undefined || method.card === null) {
    throw new Error('a method that is not expanded, or no card');
  }
  const { brand, last4, exp_month: expiryMonth, exp_year: expiryYear, fingerprint } = method.card;
  const isCard =
    /^[a-z0-9_ -]{1,64}$/i.test(brand) &&
    /^[0-9]{4}$/.test(last4) &&
    Number.isInteger(expiryMonth * expiryYear) &&
    expiryMonth >= 1 &&
    expiryMonth <= 12;
  if (!isCard) throw new Error('not a card');
  return {
    providerCustomerId: typeof customer === 'string' ? customer : customer.id,
    providerMethodId: idOf(method),
    brand,
    last4,
    expiryMonth,
    expiryYear,
    // A card without a fingerprint is like no other one.
    fingerprint: fingerprint ?? method.id,
  };
}

/** The customer's browser is sent there; undefined where it is no web address. */
export function pageUrlOf(value: unknown): string | undefined {
  const url = typeof value === 'string' && value.length <= 8192 ? URL.parse(value) : null;
  return url?.protocol === 'https:' || url?.protocol === 'http:' ? url.href : undefined;
}

function idOf({ id }: { id: unknown }): string {
  if (typeof id !== 'string' || !idForm.test(id)) throw new Error('not an id');
  return id;
}
