import type { Store, StripeObject } from './store.ts';

/** A cardholder disputes an intent's charge: the money is withdrawn, or it is asked about only. */
export function openDispute(store: Store, intentId: string, kind: 'dispute' | 'inquiry'): StripeObject {
  const intent = store.objects.get(intentId);
  if (intent?.['status'] !== 'succeeded') throw new Error('no payment that could be disputed');
  const { amount, currency, latest_charge: charge } = intent;
  const isInquiry = kind === 'inquiry';
  const dispute = store.add('dp', 'dispute', {
    amount,
    currency,
    charge,
    payment_intent: intentId,
    reason: 'fraudulent',
    status: isInquiry ? 'warning_needs_response' : 'needs_response',
    balance_transactions: isInquiry ? [] : [moved(-Number(amount))],
    metadata: {},
  });
  store.tell('charge.dispute.created', dispute);
  if (!isInquiry) store.tell('charge.dispute.funds_withdrawn', dispute);
  return dispute;
}

/** An inquiry becomes a dispute: the same object, and the money is withdrawn. */
export function escalateInquiry(store: Store, dispute: StripeObject): void {
  if (dispute['status'] !== 'warning_needs_response') throw new Error('no open inquiry');
  dispute['status'] = 'needs_response';
  (dispute['balance_transactions'] as object[]).push(moved(-Number(dispute['amount'])));
  store.tell('charge.dispute.updated', dispute);
  store.tell('charge.dispute.funds_withdrawn', dispute);
}

/** The bank decides. */
export function closeDispute(store: Store, dispute: StripeObject, outcome: 'won' | 'lost'): StripeObject {
  if (dispute['status'] !== 'needs_response') throw new Error('no open dispute');
  dispute['status'] = outcome;
  if (outcome === 'won') {
    (dispute['balance_transactions'] as object[]).push(moved(Number(dispute['amount'])));
    store.tell('charge.dispute.funds_reinstated', dispute);
  }
  store.tell('charge.dispute.closed', dispute);
  return dispute;
}

function moved(amount: number): object {
  return { object: 'balance_transaction', amount, type: 'adjustment' };
}
