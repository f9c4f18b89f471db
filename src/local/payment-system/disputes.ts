import { ApiError } from './api-error.ts';
import type { Books } from './books.ts';
import { prefixedId } from './checkouts.ts';
import type { DisputeObject, LedgerLine } from './ledger-line.ts';
import { allowOnly, optionalText, requiredText, type Parameters } from './parameters.ts';

/** The line of a cardholder's dispute: the bank takes the money back until it is decided. */
export function openDispute(books: Books, parameters: Parameters): LedgerLine {
  allowOnly(parameters, ['payment', 'reason']);
  const id = requiredText(parameters, 'payment');
  const payment = books.state.payments.get(id);
  if (payment === undefined) throw new ApiError(400, 'no_such_payment', `no such payment: ${id}`);
  const left = BigInt(payment.amount_minor) - BigInt(payment.refunded_minor);
  if (payment.status !== 'succeeded' || left === 0n) {
    throw new ApiError(400, 'nothing_to_dispute', `${id} holds no money that could be disputed`);
  }
  if ([...books.state.disputes.values()].some((dispute) => dispute.payment === id)) {
    throw new ApiError(400, 'already_disputed', `${id} is or was disputed`);
  }
  const at = books.clock.now();
  const dispute: DisputeObject = {
    id: prefixedId('dp'),
    payment: id,
    payment_reference: payment.reference,
    status: 'withdrawn',
    amount_minor: left.toString(),
    currency: payment.currency,
    reason: optionalText(parameters, 'reason') || 'fraudulent',
    created_at: at,
  };
  return { type: 'disputed', at, payment, dispute, event: { id: prefixedId('evt'), type: 'dispute.opened' } };
}

/** The line of its end: won, the money comes back; lost, it does not. */
export function closeDispute(books: Books, dispute: DisputeObject, parameters: Parameters): LedgerLine {
  allowOnly(parameters, ['outcome']);
  const outcome = parameters['outcome'];
  if (outcome !== 'won' && outcome !== 'lost') throw new ApiError(400, 'parameter_invalid', 'outcome is won or lost');
  if (dispute.status !== 'withdrawn') throw new ApiError(400, 'dispute_closed', `${dispute.id} is ${dispute.status}`);
  return {
    type: 'dispute_closed',
    at: books.clock.now(),
    payment: books.state.payments.get(dispute.payment)!,
    dispute: { ...dispute, status: outcome },
    event: { id: prefixedId('evt'), type: outcome === 'won' ? 'dispute.won' : 'dispute.lost' },
  };
}
