import {
  OutcomeUnknown,
  RequestRefused,
  type PaymentProvider,
  type RefundOutcome,
  type RefundRequest,
} from '../../provider.ts';
import type { YookassaHttp } from './yookassa-http.ts';
import { listPage } from './yookassa-lists.ts';
import { receiptOf } from './yookassa-receipts.ts';
import { yookassaAmount, type Fields } from './yookassa-payment.ts';

const pagesMax = 10;

/** Money that goes back. A refund takes no metadata: our reference is its description. */
export function refundCalls(
  http: YookassaHttp,
  taxSystemCode: number | undefined,
): Pick<PaymentProvider, 'refund' | 'lookUpRefund'> {
  return {
    async refund(request) {
      const amount = yookassaAmount(request.amount);
      if (amount === undefined) throw new RequestRefused('an amount that YooKassa cannot give back');
      const receipt = receiptOf(request.receipt, request.amount, taxSystemCode);
      const body = { payment_id: request.providerPaymentId, amount, description: request.reference, ...receipt };
      return readRefund(await http.post('/refunds', body, request.idempotencyKey), request);
    },
    async lookUpRefund(query) {
      const { providerRefundId, reference, providerPaymentId } = query;
      if (providerRefundId !== undefined) {
        const refund = await http.get(`/refunds/${encodeURIComponent(providerRefundId)}`);
        return refund === undefined ? undefined : readRefund(refund, query);
      }
      let cursor: string | undefined;
      for (let page = 0; page < pagesMax; page++) {
        const { items, nextCursor } = await listPage(http, '/refunds', { payment_id: providerPaymentId }, cursor);
        const found = items.find(({ description }) => description === reference);
        if (found !== undefined) return readRefund(found, query);
        if (nextCursor === undefined) return undefined;
        cursor = nextCursor;
      }
      throw new OutcomeUnknown('too many refunds of one payment to find one');
    },
  };
}

function readRefund(
  answer: unknown,
  expected: Pick<RefundRequest, 'reference' | 'providerPaymentId'> & Partial<Pick<RefundRequest, 'amount'>>,
): RefundOutcome {
  const refund = (answer ?? {}) as Fields;
  const { id, status, payment_id: paymentId, description, amount } = refund;
  const owed = expected.amount && yookassaAmount(expected.amount);
  const given = amount as { value?: unknown; currency?: unknown } | undefined;
  const isIt =
    typeof id === 'string' &&
    paymentId === expected.providerPaymentId &&
    description === expected.reference &&
    (owed === undefined || (given?.value === owed.value && given.currency === owed.currency));
  if (isIt && status === 'succeeded') return { kind: 'succeeded', providerRefundId: id };
  if (isIt && status === 'pending') return { kind: 'pending', providerRefundId: id };
  if (isIt && status === 'canceled') {
    const reason = (refund['cancellation_details'] as Fields | undefined)?.['reason'];
    return { kind: 'failed', providerRefundId: id, reason: typeof reason === 'string' ? reason : 'canceled' };
  }
  throw new OutcomeUnknown('YooKassa answered with something that is not the refund');
}
