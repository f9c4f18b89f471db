import { OutcomeUnknown, type PaymentProvider, type RefundOutcome, type RefundQuery } from '../../provider.ts';
import type { Money } from '../../../lib/money.ts';
import { fieldsOf, idForm, text } from './sandbox-fields.ts';
import type { SandboxHttp } from './sandbox-http.ts';

/** What was asked for: an answer about another refund is none. */
interface ExpectedRefund extends RefundQuery {
  /** Undefined for a look-up, which does not know it. */
  readonly amount?: Money;
}

/** The calls about refunds; `post` throws for what the payment system does not have. */
export function refundCalls(
  http: SandboxHttp,
  post: (path: string, body: object, idempotencyKey: string) => Promise<unknown>,
): Pick<PaymentProvider, 'refund' | 'lookUpRefund'> {
  return {
    async refund({ idempotencyKey, reference, providerPaymentId, amount }) {
      const body = { payment: providerPaymentId, amount_minor: amount.amountMinor.toString(), reference };
      const answer = await post('/v1/refunds', body, idempotencyKey);
      return readRefund(answer, { reference, providerPaymentId, amount });
    },
    async lookUpRefund(query) {
      const { providerRefundId, reference } = query;
      if (providerRefundId !== undefined) {
        const found = await http.call('GET', `/v1/refunds/${encodeURIComponent(providerRefundId)}`);
        return found === undefined ? undefined : readRefund(found, query);
      }
      return readRefundOf(await http.call('GET', `/v1/refunds?reference=${encodeURIComponent(reference)}`), query);
    },
  };
}

/** Reads a refund; one of something else is none. Throws OutcomeUnknown. */
function readRefund(answer: unknown, expected: ExpectedRefund): RefundOutcome {
  try {
    const refund = fieldsOf(answer);
    const { amount } = expected;
    const isIt =
      refund['payment'] === expected.providerPaymentId &&
      refund['reference'] === expected.reference &&
      refund['id'] === (expected.providerRefundId ?? refund['id']) &&
      refund['currency'] === (amount?.currencyCode ?? refund['currency']) &&
      refund['amount_minor'] === (amount?.amountMinor.toString() ?? refund['amount_minor']);
    if (!isIt) throw new Error('another refund than the one asked for');
    const providerRefundId = text(refund, 'id', idForm);
    switch (refund['status']) {
      case 'succeeded':
        return { kind: 'succeeded', providerRefundId };
      case 'pending':
        return { kind: 'pending', providerRefundId };
      case 'failed':
        return { kind: 'failed', providerRefundId, reason: text(refund, 'failure_reason', idForm) };
      default:
        throw new Error('not a status of a refund');
    }
  } catch (cause) {
    throw new OutcomeUnknown('the payment system answered with something that is not the refund', { cause });
  }
}

/** Reads a list of the refunds with our reference. Throws OutcomeUnknown. */
function readRefundOf(answer: unknown, query: RefundQuery): RefundOutcome | undefined {
  const data = (answer as { data?: unknown } | null | undefined)?.data;
  if (!Array.isArray(data)) throw new OutcomeUnknown('the payment system answered without a list');
  const found = data.map((refund) => readRefund(refund, query));
  // Should there ever be more than one, the one that moved money counts.
  return found.find(({ kind }) => kind !== 'failed') ?? found[0];
}
