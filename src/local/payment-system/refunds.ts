import { ApiError } from './api-error.ts';
import type { Books } from './books.ts';
import { prefixedId } from './checkouts.ts';
import type { KeyUse, LedgerLine, RefundObject } from './ledger-line.ts';
import { allowOnly, readAmount, requiredText, type Parameters } from './parameters.ts';

const names = ['payment', 'amount_minor', 'reference'];

/** The line that gives money back. All refunds of a payment together never exceed what was taken. */
export function refundPayment(books: Books, parameters: Parameters, key: KeyUse): LedgerLine {
  allowOnly(parameters, names);
  const id = requiredText(parameters, 'payment');
  const payment = books.state.payments.get(id);
  if (payment === undefined) throw new ApiError(400, 'no_such_payment', `no such payment: ${id}`);
  if (payment.status !== 'succeeded') throw new ApiError(400, 'payment_not_succeeded', `nothing was taken by ${id}`);
  const amount = BigInt(readAmount(parameters));
  const refunded = BigInt(payment.refunded_minor) + amount;
  const taken = BigInt(payment.amount_minor);
  if (refunded > taken) {
    const left = taken - BigInt(payment.refunded_minor);
    throw new ApiError(400, 'amount_too_large', `only ${left} of ${taken} can still be refunded`);
  }
  const at = books.clock.now();
  const refund: RefundObject = {
    id: prefixedId('re'),
    payment: id,
    status: 'succeeded',
    amount_minor: amount.toString(),
    currency: payment.currency,
    reference: requiredText(parameters, 'reference'),
    created_at: at,
  };
  return {
    type: 'refunded',
    at,
    payment: { ...payment, refunded_minor: refunded.toString() },
    refund,
    key,
    event: { id: prefixedId('evt'), type: 'refund.succeeded' },
  };
}
