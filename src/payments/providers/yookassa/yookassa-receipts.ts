import type { Money } from '../../../lib/money.ts';
import { OutcomeUnknown, RequestRefused, type PaymentProvider, type ReceiptData } from '../../provider.ts';
import type { YookassaHttp } from './yookassa-http.ts';
import { listPage } from './yookassa-lists.ts';
import { fieldsOf, yookassaAmount, type Fields } from './yookassa-payment.ts';

const lineLengthMax = 128;
const documentForm = /^[0-9A-Za-z-]{1,64}$/;

/** The part of a payment or a refund that asks for a receipt over the whole amount; nothing without one. */
export function receiptOf(receipt: ReceiptData | undefined, amount: Money, taxSystemCode: number | undefined): object {
  if (receipt === undefined) return {};
  const money = yookassaAmount(amount);
  if (money === undefined) throw new RequestRefused('an amount that YooKassa cannot take');
  const item = {
    description: receipt.lineText.slice(0, lineLengthMax),
    quantity: 1,
    amount: money,
    vat_code: receipt.vatCode,
    payment_subject: receipt.subject,
    payment_mode: receipt.mode,
  };
  return {
    receipt: {
      customer: { email: receipt.contact },
      items: [item],
      ...(taxSystemCode !== undefined && { tax_system_code: taxSystemCode }),
    },
  };
}

/** Looks a receipt up by what it belongs to. */
export function lookUpReceiptCall(http: YookassaHttp): PaymentProvider['lookUpReceipt'] {
  return async ({ providerPaymentId, providerRefundId }) => {
    const query: Record<string, string> =
      providerRefundId === undefined ? { payment_id: providerPaymentId } : { refund_id: providerRefundId };
    const { items } = await listPage(http, '/receipts', query, undefined);
    const type = providerRefundId === undefined ? 'payment' : 'refund';
    const found = items.filter((item) => item['type'] === type).map(readReceipt);
    // One that was refused may have been made again in the back office.
    return found.find(({ status }) => status === 'issued') ?? found[0];
  };
}

function readReceipt(item: Fields): NonNullable<Awaited<ReturnType<PaymentProvider['lookUpReceipt']>>> {
  const { status, fiscal_document_number: number } = fieldsOf(item);
  if (status === 'pending') return { status, fiscalDocument: '' };
  if (status === 'canceled') return { status: 'failed', fiscalDocument: '' };
  const isIssued = status === 'succeeded' && (number === undefined || documentForm.test(String(number)));
  if (!isIssued) throw new OutcomeUnknown('YooKassa answered with something that is not a receipt');
  return { status: 'issued', fiscalDocument: number === undefined ? '' : String(number) };
}
