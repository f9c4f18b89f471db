import { ApiError } from './api-error.ts';
import type { Books } from './books.ts';
import { refundEnding } from './cards.ts';
import { processingMs } from './charges.ts';
import { prefixedId } from './checkouts.ts';
import type { Decided } from './idempotency.ts';
import { nextRefundPlay } from './next-play.ts';
import type { KeyUse, LedgerLine, RefundObject } from './ledger-line.ts';
import { allowOnly, readAmount, requiredText, type Parameters } from './parameters.ts';
import { isoOf } from './test-clock.ts';

const names = ['payment', 'amount_minor', 'reference'];

/** Gives money back. All refunds of a payment together, and what a bank has taken back, never exceed what was taken. */
export function refundPayment(books: Books, parameters: Parameters, key: Omit<KeyUse, 'answered'>): Decided {
  allowOnly(parameters, names);
  const id = requiredText(parameters, 'payment');
  const payment = books.state.payments.get(id);
  if (payment === undefined) throw new ApiError(400, 'no_such_payment', `no such payment: ${id}`);
  if (payment.status !== 'succeeded') throw new ApiError(400, 'payment_not_succeeded', `nothing was taken by ${id}`);
  const amount = BigInt(readAmount(parameters));
  const refunded = BigInt(payment.refunded_minor) + amount;
  const taken = BigInt(payment.amount_minor);
  const disputed = [...books.state.disputes.values()]
    .filter((dispute) => dispute.payment === id && dispute.status !== 'won')
    .reduce((sum, dispute) => sum + BigInt(dispute.amount_minor), 0n);
  if (refunded + disputed > taken) {
    const left = taken - disputed - BigInt(payment.refunded_minor);
    throw new ApiError(400, 'amount_too_large', `only ${left} of ${taken} can still be refunded`);
  }
  const { delayMs, used, fault, isStored = false, verdict } = nextRefundPlay(books.state, payment.customer_reference);
  const nowMs = books.clock.nowMs();
  const at = isoOf(nowMs);
  if (fault !== undefined && verdict === undefined) {
    const stored = isStored && { key: { ...key, answered: true, failed: true } };
    return { line: { type: 'fault_played', at, ...used, ...stored }, fault, delayMs };
  }
  const isRefused = verdict?.kind === 'declined';
  const method = books.state.methods.get(payment.payment_method!.id)!;
  const ending = isRefused ? undefined : refundEnding(method);
  const refund: RefundObject = {
    id: prefixedId('re'),
    payment: id,
    status: isRefused ? 'failed' : ending === undefined ? 'succeeded' : 'pending',
    failure_reason: isRefused ? 'card_closed' : null,
    amount_minor: amount.toString(),
    currency: payment.currency,
    reference: requiredText(parameters, 'reference'),
    created_at: at,
  };
  const line: LedgerLine = {
    type: 'refunded',
    at,
    payment: isRefused ? payment : { ...payment, refunded_minor: refunded.toString() },
    refund,
    ...used,
    key: {
      ...key,
      answered: verdict?.kind !== 'paid-unanswered',
      ...(isStored && fault === 'internal_error' && { failed: true }),
    },
    ...(ending === undefined
      ? { event: { id: prefixedId('evt'), type: isRefused ? 'refund.failed' : 'refund.succeeded' } }
      : { ending: { at: isoOf(nowMs + processingMs), succeeds: ending === 'succeeds' } }),
  };
  return { line, delayMs, ...(fault && { fault }) };
}

/** The line of a refund that was under way and ends now; one that failed can be made again. */
export function endRefund(books: Books, refund: RefundObject, succeeds: boolean): LedgerLine {
  const payment = books.state.payments.get(refund.payment)!;
  const refunded = BigInt(payment.refunded_minor) - (succeeds ? 0n : BigInt(refund.amount_minor));
  return {
    type: 'refund_settled',
    at: books.clock.now(),
    payment: { ...payment, refunded_minor: refunded.toString() },
    refund: {
      ...refund,
      ...(succeeds ? { status: 'succeeded' } : { status: 'failed', failure_reason: 'card_closed' }),
    },
    event: { id: prefixedId('evt'), type: succeeds ? 'refund.succeeded' : 'refund.failed' },
  };
}
