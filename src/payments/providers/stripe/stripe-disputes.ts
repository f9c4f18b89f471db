import type { Stripe } from 'stripe';
import { OutcomeUnknown, type DisputeOutcome, type PaymentProvider } from '../../provider.ts';
import { callStripe, findInStripe } from './stripe-http.ts';
import { createdWithin } from './stripe-list.ts';
import { moneyOf } from './stripe-payment.ts';

const expand = ['payment_intent'];
const pageSize = 100;
const codeForm = /^[a-z0-9_]{1,64}$/;

/**
 * Looks a dispute up. An inquiry (`warning_…`) moves no money; an open dispute has, once Stripe shows the withdrawal
 * among its balance transactions.
 */
export function lookUpDisputeCall(stripe: Stripe): PaymentProvider['lookUpDispute'] {
  return async (id) => {
    const dispute = await findInStripe(() => stripe.disputes.retrieve(id, { expand }));
    return dispute && readDispute(dispute, id);
  };
}

/** Every dispute opened in a span of time, newest first. A cursor is the last one's id. */
export function listDisputesCall(stripe: Stripe): PaymentProvider['listDisputes'] {
  return async ({ from, to, cursor }) => {
    const query = { created: createdWithin(from, to), limit: pageSize, ...(cursor && { starting_after: cursor }) };
    const expandEach = expand.map((path) => `data.${path}`);
    const { data, has_more: hasMore } = await callStripe(() => stripe.disputes.list({ ...query, expand: expandEach }));
    const disputes = data.map((dispute) => readDispute(dispute, dispute.id));
    return { disputes, nextCursor: hasMore ? data.at(-1)!.id : undefined };
  };
}

function readDispute(dispute: Stripe.Dispute, id: string): DisputeOutcome {
  try {
    const intent = dispute.payment_intent;
    if (dispute.id !== id) throw new Error('another dispute');
    if (typeof intent !== 'object') throw new Error('a dispute without its payment');
    if (!codeForm.test(dispute.reason)) throw new Error('a dispute without a reason');
    return {
      providerDisputeId: id,
      // A charge that was made without an intent is none of ours.
      payment: { providerPaymentId: intent?.id, reference: intent?.metadata['reference'] ?? '' },
      status: statusOf(dispute),
      amount: moneyOf(dispute.amount, dispute.currency),
      reason: dispute.reason,
    };
  } catch (cause) {
    throw new OutcomeUnknown('Stripe answered with something that is not the dispute', { cause });
  }
}

function statusOf({ status, balance_transactions: moves }: Stripe.Dispute): DisputeOutcome['status'] {
  switch (status) {
    case 'won':
      // An inquiry that was escalated and won moved money both ways; without any there is nothing to put back.
      return moves.length > 0 ? 'reinstated' : 'no funds moved';
    case 'lost':
      return 'lost';
    case 'needs_response':
    case 'under_review':
      return moves.length > 0 ? 'withdrawn' : 'no funds moved';
    default:
      return 'no funds moved';
  }
}
