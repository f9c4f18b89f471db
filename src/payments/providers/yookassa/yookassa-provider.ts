import {
  OutcomeUnknown,
  RequestRefused,
  type ChargeRequest,
  type CheckoutPage,
  type CheckoutRequest,
  type FiscalTerms,
  type PaymentProvider,
} from '../../provider.ts';
import { createYookassaHttp, type YookassaHttp } from './yookassa-http.ts';
import { listPage, listPayments } from './yookassa-lists.ts';
import { createSenderCheck, readNotice } from './yookassa-notice.ts';
import {
  bindingPrefix,
  fieldsOf,
  pageUrlOf,
  readBinding,
  readPayment,
  yookassaAmount,
  type Fields,
  type KnownOutcome,
} from './yookassa-payment.ts';
import { lookUpReceiptCall, receiptOf } from './yookassa-receipts.ts';
import { refundCalls } from './yookassa-refunds.ts';

export interface YookassaProviderOptions {
  readonly shopId: string;
  readonly secretKey: string;
  /** Where YooKassa sends a customer when nobody said where. */
  readonly returnUrl: string;
  /** Where notifications may come from: addresses, networks, or `any`. */
  readonly noticeAddresses: readonly string[];
  /** The terms of receipts (54-FZ), where YooKassa issues them for the shop. */
  readonly receipts?: FiscalTerms | undefined;
  /** 1 to 6, for a shop that has several. */
  readonly taxSystemCode?: number | undefined;
  readonly baseUrl?: string;
  readonly callDeadlineMs?: number;
}

interface Shop {
  readonly http: YookassaHttp;
  readonly shopId: string;
  readonly returnUrl: string;
  readonly taxSystemCode: number | undefined;
}

const hourMs = 3_600_000;
const callDeadlineDefaultMs = 15_000;
const descriptionLengthMax = 128;
/** A payment of the last day, and an hour for clocks that differ. */
const searchedHours = 25;
const pagesMax = 50;

/** YooKassa charges no less than a rouble. */
const roubleMinor = 100n;

/** Builds the provider; it connects with the first call. Throws when the options cannot work. */
export function createYookassaProvider(options: YookassaProviderOptions): PaymentProvider {
  const { taxSystemCode, shopId, secretKey, returnUrl, baseUrl = 'https://api.yookassa.ru/v3' } = options;
  if (!/^[0-9]{1,20}$/.test(shopId) || secretKey === '') throw new Error('YooKassa needs a shop id and its secret key');
  const callDeadlineMs = options.callDeadlineMs ?? callDeadlineDefaultMs;
  const http = createYookassaHttp({ baseUrl, shopId, secretKey, callDeadlineMs });
  const shop = { http, shopId, returnUrl, taxSystemCode };
  const checkSender = createSenderCheck(options.noticeAddresses);

  return {
    name: 'yookassa',
    merchantAccount: shopId,
    capabilities: {
      idempotencyWindowMs: 24 * hourMs,
      lookUpByReference: true,
      canCancelPending: false,
      canCloseCheckout: false,
      canDetachMethod: false,
      reportsDisputes: false,
      fiscalizes: options.receipts,
      takesCurrency: (currencyCode) => yookassaAmount({ currencyCode, amountMinor: 1n }) !== undefined,
      checkoutTtlMs: hourMs,
      maxConcurrency: 16,
      callDeadlineMs,
      minimumAmountMinor: (currencyCode) => (currencyCode === 'RUB' ? roubleMinor : 1n),
    },
    startCheckout: (request) => (request.mode === 'setup' ? startBinding(shop, request) : startPayment(shop, request)),
    async expireCheckout(id) {
      // YooKassa cancels only what waits for a capture; a page that nobody finishes ends by itself.
      const outcome = await lookUpId(shop, id, undefined);
      if (outcome === undefined) throw new RequestRefused('YooKassa has no such page');
      if (outcome.kind === 'waiting') throw new OutcomeUnknown('YooKassa cannot close a page: it ends by itself');
      return outcome;
    },
    charge: (request) => charge(shop, request),
    async cancelPending(id) {
      const outcome = await lookUpId(shop, id, undefined);
      if (outcome === undefined) throw new RequestRefused('YooKassa has no such payment');
      return outcome;
    },
    // There is no call for it: who forgets the id can charge no more, and the customer may revoke the permission.
    detachMethod: async () => undefined,
    ...refundCalls(http, taxSystemCode),
    lookUpReceipt: lookUpReceiptCall(http),
    lookUpDispute: () => Promise.reject(new RequestRefused('YooKassa tells of no disputes')),
    listDisputes: () => Promise.reject(new RequestRefused('YooKassa tells of no disputes')),
    lookUp: (query) =>
      query.providerPaymentId !== undefined && !query.providerPaymentId.startsWith('none_')
        ? lookUpId(shop, query.providerPaymentId, query.reference)
        : search(shop, query.reference ?? ''),
    listPayments: (query) => listPayments(http, query),
    authenticateWebhook(notice) {
      checkSender(notice);
      return 'hint only';
    },
    readWebhook: readNotice,
  };
}

async function startPayment(
  { http, shopId, returnUrl, taxSystemCode }: Shop,
  request: CheckoutRequest,
): Promise<CheckoutPage> {
  const { reference, idempotencyKey, customerReference } = request;
  const body = {
    ...debtOf(request),
    ...receiptOf(request.receipt, request.amount, taxSystemCode),
    metadata: { reference, customer: customerReference },
    payment_method_data: { type: 'bank_card' },
    save_payment_method: true,
    confirmation: { type: 'redirect', return_url: request.returnUrl || returnUrl },
  };
  const answer = await http.post('/payments', body, idempotencyKey);
  const { providerPaymentId } = readPayment(answer, { reference, shopId });
  return pageOf(fieldsOf(answer), providerPaymentId);
}

async function startBinding({ http, shopId, returnUrl }: Shop, request: CheckoutRequest): Promise<CheckoutPage> {
  const confirmation = { type: 'redirect', return_url: request.returnUrl || returnUrl };
  const answer = await http.post('/payment_methods', { type: 'bank_card', confirmation }, request.idempotencyKey);
  const { providerPaymentId } = readBinding(answer, { shopId });
  return pageOf(fieldsOf(answer), providerPaymentId);
}

/** YooKassa does not say when a page ends: an hour after it was opened, by its own clock where it tells it. */
function pageOf(object: Fields, providerPaymentId: string): CheckoutPage {
  const url = pageUrlOf(object);
  if (url === undefined) throw new OutcomeUnknown('YooKassa opened a page without an address');
  const createdAt = object['created_at'];
  const openedAt = typeof createdAt === 'string' ? Temporal.Instant.from(createdAt) : Temporal.Now.instant();
  return { providerPaymentId, url, expiresAt: openedAt.add({ hours: 1 }) };
}

async function charge({ http, shopId, taxSystemCode }: Shop, request: ChargeRequest): Promise<KnownOutcome> {
  const { reference, idempotencyKey, providerMethodId, providerCustomerId } = request;
  const metadata = { reference, customer: providerCustomerId };
  const receipt = receiptOf(request.receipt, request.amount, taxSystemCode);
  const body = { ...debtOf(request), ...receipt, metadata, payment_method_id: providerMethodId };
  try {
    return readPayment(await http.post('/payments', body, idempotencyKey), { reference, shopId });
  } catch (error) {
    if (!(error instanceof RequestRefused)) throw error;
    const method = (await http.get(`/payment_methods/${encodeURIComponent(providerMethodId)}`)) as Fields | undefined;
    if (method?.['saved'] === true) throw error;
    // YooKassa begins no payment without a method: there is none to name.
    const providerPaymentId = `none_${reference}`;
    return { kind: 'declined', providerPaymentId, declineCode: 'payment_method_detached', hard: true };
  }
}

async function lookUpId({ http, shopId }: Shop, id: string, reference: string | undefined) {
  if (id.startsWith(bindingPrefix)) {
    const methodId = id.slice(bindingPrefix.length);
    const binding = await http.get(`/payment_methods/${encodeURIComponent(methodId)}`);
    return binding === undefined ? undefined : readBinding(binding, { id: methodId, shopId });
  }
  const payment = await http.get(`/payments/${encodeURIComponent(id)}`);
  const expected = { id, shopId, ...(reference !== undefined && { reference }) };
  return payment === undefined ? undefined : readPayment(payment, expected);
}

/** YooKassa searches no payments: those of the last day are read, newest first. */
async function search({ http, shopId }: Shop, reference: string): Promise<KnownOutcome | undefined> {
  const since = Temporal.Now.instant().subtract({ hours: searchedHours }).toString();
  let cursor: string | undefined;
  for (let page = 0; page < pagesMax; page++) {
    const { items, nextCursor } = await listPage(http, '/payments', { 'created_at.gte': since }, cursor);
    const found = items.find(({ metadata }) => (metadata as Fields | undefined)?.['reference'] === reference);
    if (found !== undefined) return readPayment(found, { reference, shopId });
    if (nextCursor === undefined) return undefined;
    cursor = nextCursor;
  }
  throw new OutcomeUnknown('too many payments in a day to say that one is not there');
}

/** What both ways to pay have in common; taken at once, not in two stages. */
function debtOf({ amount, description }: CheckoutRequest | ChargeRequest): object {
  const money = yookassaAmount(amount);
  if (money === undefined) throw new RequestRefused('an amount that YooKassa cannot take');
  return { amount: money, capture: true, description: description.slice(0, descriptionLengthMax) };
}
