import type { Stripe } from 'stripe';
import {
  OutcomeUnknown,
  RequestRefused,
  type PaymentProvider,
  type RefundOutcome,
  type RefundQuery,
  type RefundRequest,
} from '../../provider.ts';
import { callStripe, findInStripe } from './stripe-http.ts';
import { stripeAmount } from './stripe-payment.ts';

const pageSize = 100;
/** A payment with more refunds than that is nobody's subscription. */
const pagesMax = 10;

/** Money that goes back, by intents: a page's payment is named by its page with us. */
export function refundCalls(stripe: Stripe): Pick<PaymentProvider, 'refund' | 'lookUpRefund'> {
  return {
    async refund(request) {
      const { idempotencyKey, reference, providerPaymentId } = request;
      const money = stripeAmount(request.amount);
      if (money === undefined) throw new RequestRefused('an amount that Stripe cannot give back');
      const intent = await intentIdOf(stripe, providerPaymentId);
      if (intent === undefined) throw new RequestRefused('Stripe has no such payment to give back');
      const parameters = { payment_intent: intent, amount: money.amount, metadata: { reference } };
      const refund = await callStripe(() => stripe.refunds.create(parameters, { idempotencyKey }));
      return readRefund(refund, request, intent);
    },
    async lookUpRefund(query) {
      const refund = await findRefund(stripe, query);
      return refund && readRefund(refund, query, undefined);
    },
  };
}

async function findRefund(stripe: Stripe, query: RefundQuery): Promise<Stripe.Refund | undefined> {
  const { providerRefundId, reference, providerPaymentId } = query;
  if (providerRefundId !== undefined) return findInStripe(() => stripe.refunds.retrieve(providerRefundId));
  const intent = await intentIdOf(stripe, providerPaymentId);
  if (intent === undefined) return undefined;
  let after: string | undefined;
  for (let page = 0; page < pagesMax; page++) {
    const from = after === undefined ? {} : { starting_after: after };
    const { data, has_more: hasMore } = await callStripe(() =>
      stripe.refunds.list({ payment_intent: intent, limit: pageSize, ...from }),
    );
    const found = data.find(({ metadata }) => metadata?.['reference'] === reference);
    if (found !== undefined || !hasMore) return found;
    after = data.at(-1)?.id;
  }
  throw new OutcomeUnknown('too many refunds of one payment to find one');
}

/** The intent that holds the money of a payment of ours. */
async function intentIdOf(stripe: Stripe, providerPaymentId: string): Promise<string | undefined> {
  if (!providerPaymentId.startsWith('cs_')) return providerPaymentId;
  const session = await findInStripe(() => stripe.checkout.sessions.retrieve(providerPaymentId));
  const intent = session?.payment_intent;
  return typeof intent === 'string' ? intent : intent?.id;
}

function readRefund(
  refund: Stripe.Refund,
  expected: Pick<RefundRequest, 'reference'> & Partial<Pick<RefundRequest, 'amount'>>,
  intent: string | undefined,
): RefundOutcome {
  const { id: providerRefundId, status, amount, currency } = refund;
  const money = expected.amount && stripeAmount(expected.amount);
  const isIt =
    refund.metadata?.['reference'] === expected.reference &&
    (intent === undefined || refund.payment_intent === intent) &&
    (money === undefined || (amount === money.amount && currency === money.currency)) &&
    /^[\x21-\x7e]{1,255}$/.test(providerRefundId);
  if (isIt && status === 'succeeded') return { kind: 'succeeded', providerRefundId };
  if (isIt && (status === 'pending' || status === 'requires_action')) return { kind: 'pending', providerRefundId };
  if (isIt && (status === 'failed' || status === 'canceled')) {
    return { kind: 'failed', providerRefundId, reason: refund.failure_reason ?? status };
  }
  throw new OutcomeUnknown('Stripe answered with something that is not the refund');
}
