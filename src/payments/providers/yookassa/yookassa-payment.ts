import { createHmac } from 'node:crypto';
import type { Money } from '../../../lib/money.ts';
import { OutcomeUnknown, type PaymentOutcome, type SavedMethod } from '../../provider.ts';

export type Fields = Record<string, unknown>;
export type KnownOutcome = PaymentOutcome & { readonly providerPaymentId: string };

/** Reasons after which the same method is not to be charged again (yookassa.ru, declined payments). */
const hardReasons: ReadonlySet<string> = new Set([
  'card_expired',
  'country_forbidden',
  'fraud_suspected',
  'invalid_card_number',
  'payment_method_restricted',
  'permission_revoked',
]);
const idForm = /^[\x21-\x7e]{1,64}$/;
/** Whoever did not pay in time is not declined: nothing was tried. */
const neverTried = 'expired_on_confirmation';

/** `{ value: '599.00', currency: 'RUB' }`; undefined for money that YooKassa does not take. */
export function yookassaAmount({ currencyCode, amountMinor }: Money): { value: string; currency: string } | undefined {
  if (currencyCode !== 'RUB' || amountMinor < 0n) return undefined;
  const digits = amountMinor.toString().padStart(3, '0');
  return { value: `${digits.slice(0, -2)}.${digits.slice(-2)}`, currency: currencyCode };
}

/** Reads an amount. Throws where it is none. */
export function moneyOf(amount: unknown): Money {
  const { value, currency } = fieldsOf(amount);
  if (typeof value !== 'string' || !/^[0-9]{1,15}\.[0-9]{2}$/.test(value)) throw new Error('not an amount');
  if (currency !== 'RUB') throw new Error('not roubles');
  return { currencyCode: currency, amountMinor: BigInt(value.replace('.', '')) };
}

/** Reads a payment; one of another id or reference is none. Throws OutcomeUnknown. */
export function readPayment(
  answer: unknown,
  expected: { id?: string | undefined; reference?: string; shopId: string },
): KnownOutcome {
  try {
    const payment = fieldsOf(answer);
    const { id, status, metadata } = payment;
    const reference = (metadata as Fields | undefined)?.['reference'];
    const isOther =
      (expected.id !== undefined && id !== expected.id) ||
      (expected.reference !== undefined && reference !== expected.reference);
    if (isOther) throw new Error('another payment than the one that was asked for');
    const providerPaymentId = text(id, idForm);
    if (status === 'pending') {
      const actionUrl = pageUrlOf(payment);
      return { kind: 'waiting', providerPaymentId, ...(actionUrl !== undefined && { actionUrl }) };
    }
    if (status === 'succeeded') {
      const method = methodOf(payment['payment_method'], customerOf(payment), expected.shopId);
      const amount = moneyOf(payment['amount']);
      return { kind: 'succeeded', providerPaymentId, amount, refundedMinor: refundedOf(payment), method };
    }
    if (status !== 'canceled') throw new Error('not a status of a payment that is taken at once');
    const declineCode = text(fieldsOf(payment['cancellation_details'])['reason'], /^[a-z0-9_]{1,64}$/);
    if (declineCode === neverTried) return { kind: 'dead', providerPaymentId };
    return { kind: 'declined', providerPaymentId, declineCode, hard: hardReasons.has(declineCode) };
  } catch (cause) {
    throw new OutcomeUnknown('YooKassa answered with something that is not the payment', { cause });
  }
}

/** What has gone back of a payment; it is not said of where nothing has. Throws where it is no amount. */
export function refundedOf({ refunded_amount: refunded }: Fields): bigint {
  return refunded === undefined ? 0n : moneyOf(refunded).amountMinor;
}

/** Reads a method that is being saved without a payment. It has no reference of ours. Throws OutcomeUnknown. */
export function readBinding(answer: unknown, expected: { id?: string; shopId: string }): KnownOutcome {
  try {
    const binding = fieldsOf(answer);
    const { id, status, saved } = binding;
    if (expected.id !== undefined && id !== expected.id) throw new Error('another method');
    const providerPaymentId = `${bindingPrefix}${text(id, idForm)}`;
    if (status === 'pending') return { kind: 'waiting', providerPaymentId };
    if (status === 'inactive') return { kind: 'dead', providerPaymentId };
    const method = methodOf(binding, 'none', expected.shopId);
    if (status !== 'active' || saved !== true || method === undefined) throw new Error('not a saved method');
    return { kind: 'method saved', providerPaymentId, method };
  } catch (cause) {
    throw new OutcomeUnknown('YooKassa answered with something that is not the method', { cause });
  }
}

/** Ids of set-ups with us: YooKassa gives payments and methods ids of one form. */
export const bindingPrefix = 'method:';

/** The customer's browser is sent there; undefined where it is no web address. */
export function pageUrlOf(object: Fields): string | undefined {
  const value = (object['confirmation'] as Fields | null | undefined)?.['confirmation_url'];
  const url = typeof value === 'string' && value.length <= 2048 ? URL.parse(value) : null;
  return url?.protocol === 'https:' || url?.protocol === 'http:' ? url.href : undefined;
}

function customerOf(payment: Fields): string {
  const { customer } = fieldsOf(payment['metadata']);
  return typeof customer === 'string' && idForm.test(customer) ? customer : 'none';
}

/** Only a card that YooKassa keeps; undefined otherwise. */
function methodOf(value: unknown, providerCustomerId: string, shopId: string): SavedMethod | undefined {
  const method = (value ?? {}) as Fields;
  if (method['saved'] !== true || method['type'] !== 'bank_card') return undefined;
  const card = fieldsOf(method['card']);
  const last4 = text(card['last4'], /^[0-9]{4}$/);
  const month = text(card['expiry_month'], /^(0?[1-9]|1[0-2])$/);
  const year = text(card['expiry_year'], /^20[0-9]{2}$/);
  return {
    providerCustomerId,
    providerMethodId: text(method['id'], idForm),
    brand: text(card['card_type'], /^[\p{L}\p{N} ._-]{1,64}$/u).toLowerCase(),
    last4,
    expiryMonth: Number(month),
    expiryYear: Number(year),
    // YooKassa tells no fingerprint: the digits that it shows and the expiry are the nearest to one.
    fingerprint: createHmac('sha256', shopId)
      .update(`${String(card['first6'])} ${last4} ${year}-${month}`)
      .digest('hex')
      .slice(0, 32),
  };
}

export function fieldsOf(value: unknown): Fields {
  if (typeof value !== 'object' || value === null) throw new Error('not an object');
  return value as Fields;
}

function text(value: unknown, form: RegExp): string {
  if (typeof value !== 'string' || !form.test(value)) throw new Error('a field does not have its form');
  return value;
}
