import { randomUUID } from 'node:crypto';
import type { DoubleCard } from '../double/cards.ts';
import type { DoubleState } from '../double/state-file.ts';
import type { Step, StepOutcome } from '../double/scripts.ts';
import { checkReceipt, newReceipt } from './receipts.ts';
import { invalid, YookassaRefusal } from './refusal.ts';

export type YookassaObject = { id: string; status: string } & Record<string, unknown>;
type Body = Record<string, unknown>;

/** What each call takes, by YooKassa's reference (yookassa.ru/developers/api); anything else is refused. */
const documented: Record<string, readonly string[]> = {
  'POST /payments': [
    ...'amount description receipt recipient payment_token payment_method_id payment_method_data'.split(' '),
    ...'confirmation save_payment_method capture client_ip metadata airline transfers deal fraud_data'.split(' '),
    ...'merchant_customer_id payment_order receiver'.split(' '),
  ],
  'POST /payment_methods': ['type', 'card', 'holder', 'client_ip', 'confirmation'],
  'POST /refunds': ['payment_id', 'amount', 'description', 'receipt', 'sources', 'deal', 'refund_method_data'],
};

const declineReasons: Partial<Record<DoubleCard, string>> = {
  'no funds later': 'insufficient_funds',
  'stolen later': 'fraud_suspected',
};

/** The books of one shop, in order of creation. */
export interface Shop {
  readonly payments: Map<string, YookassaObject>;
  readonly methods: Map<string, YookassaObject>;
  readonly refunds: Map<string, YookassaObject>;
  readonly receipts: Map<string, YookassaObject>;
  /** Whether YooKassa issues the shop's receipts: then nothing is taken without one. */
  wantsReceipts: boolean;
  /** The register has done with every receipt that is pending. */
  register(status: 'succeeded' | 'canceled'): void;
  create(call: string, body: Body, step: Step): YookassaObject;
  /** False where there is nothing to pay. */
  pay(id: string, card: DoubleCard): boolean;
  cancel(id: string): boolean;
}

/** What a scripted step makes of the card. */
const scriptedCards: Partial<Record<StepOutcome, DoubleCard>> = {
  ok: 'good',
  charged_unanswered: 'good',
  soft_decline: 'no funds later',
};

/** `tell`: an event of the object's. */
export function createShop(
  state: DoubleState,
  baseUrl: () => string,
  tell: (event: string, object: YookassaObject) => void,
): Shop {
  const payments = state.map<YookassaObject>('payments');
  const methods = state.map<YookassaObject>('methods');
  const refunds = state.map<YookassaObject>('refunds');
  const cards = state.map<DoubleCard>('cards');
  const receipts = state.map<YookassaObject>('receipts');
  /** What was asked for with a payment and is not shown. */
  const receiptOfPayment = state.map<unknown>('receipts-of-payments');

  const add = (map: Map<string, YookassaObject>, fields: Body & { status: string }): YookassaObject => {
    const added = { id: randomUUID(), created_at: new Date().toISOString(), ...fields };
    map.set(added.id, added);
    return added;
  };
  const pageOf = (id: string) => ({ type: 'redirect', confirmation_url: `${baseUrl()}/checkout/${id}` });
  const save = (card: DoubleCard): YookassaObject => {
    const shown = { first6: '555555', last4: '4444', expiry_month: '12', expiry_year: '2049', card_type: 'MasterCard' };
    const method = add(methods, { type: 'bank_card', saved: true, status: 'active', title: 'Card *4444', card: shown });
    cards.set(method.id, card);
    return method;
  };
  const shownMethod = ({ id, type, saved, title, card }: YookassaObject) => ({ id, type, saved, title, card });

  const issue = (type: 'payment' | 'refund', of: YookassaObject, receipt: unknown) => {
    if (receipt !== undefined) add(receipts, newReceipt(type, of) as Body & { status: string });
  };

  function createPayment(body: Body, as: DoubleCard | undefined): YookassaObject {
    const { amount, capture, description, metadata = {}, payment_method_id: methodId, confirmation } = body;
    if (capture !== true) throw invalid('this shop takes money in one stage', 'capture');
    if (typeof description === 'string' && description.length > 128) throw invalid('too long', 'description');
    checkAmount(amount);
    checkReceipt(body['receipt'], amount, shop.wantsReceipts);
    const base = { amount, description, metadata, paid: false, refundable: false, test: true };
    if (methodId === undefined) {
      checkConfirmation(confirmation);
      const payment = add(payments, { ...base, status: 'pending', saves: body['save_payment_method'] === true });
      receiptOfPayment.set(payment.id, body['receipt']);
      return Object.assign(payment, { confirmation: pageOf(payment.id) });
    }
    const method = methods.get(String(methodId));
    if (method === undefined) throw invalid('Payment method doesn’t exist', 'payment_method_id');
    const card = as ?? cards.get(method.id)!;
    const reason = declineReasons[card];
    const shown = { payment_method: shownMethod(method) };
    if (reason !== undefined) {
      const details = { party: 'payment_network', reason };
      const canceled = add(payments, { ...base, ...shown, status: 'canceled', cancellation_details: details });
      tell('payment.canceled', canceled);
      return canceled;
    }
    if (card === 'needs customer') {
      const payment = add(payments, { ...base, ...shown, status: 'pending' });
      receiptOfPayment.set(payment.id, body['receipt']);
      return Object.assign(payment, { confirmation: pageOf(payment.id) });
    }
    const payment = add(payments, { ...base, ...shown, status: 'succeeded', paid: true, refundable: true });
    issue('payment', payment, body['receipt']);
    tell('payment.succeeded', payment);
    if (card === 'error later') throw new YookassaRefusal(500, 'internal_server_error', 'Unknown result');
    return payment;
  }

  function createRefund({ payment_id: id, amount, description, receipt }: Body, isRefused: boolean): YookassaObject {
    const payment = payments.get(String(id));
    if (payment?.status !== 'succeeded') throw invalid('Payment doesn’t exist or is not paid', 'payment_id');
    const left = kopecks(payment['amount']) - kopecks(payment['refunded_amount'] ?? { value: '0.00' });
    if (kopecks(amount) > left) throw invalid('Refund amount is greater than what is left', 'amount');
    checkAmount(amount);
    checkReceipt(receipt, amount, shop.wantsReceipts);
    if (isRefused) {
      const details = { party: 'yoo_money', reason: 'general_decline' };
      return add(refunds, { payment_id: id, amount, description, status: 'canceled', cancellation_details: details });
    }
    const back = kopecks(payment['amount']) - left + kopecks(amount);
    payment['refunded_amount'] = { value: `${back / 100n}.${String(back % 100n).padStart(2, '0')}`, currency: 'RUB' };
    const refund = add(refunds, { payment_id: id, amount, description, status: 'succeeded' });
    issue('refund', refund, receipt);
    tell('refund.succeeded', refund);
    return refund;
  }

  const shop: Shop = {
    payments,
    methods,
    refunds,
    receipts,
    wantsReceipts: false,
    register(status) {
      let number = receipts.size * 1_000;
      for (const receipt of receipts.values()) {
        if (receipt.status !== 'pending') continue;
        const document = status === 'succeeded' ? { fiscal_document_number: String((number += 1)) } : {};
        Object.assign(receipt, { status, ...document });
      }
    },
    create(call, body, { outcome }) {
      const unknown = Object.keys(body).find((name) => !documented[call]?.includes(name));
      if (unknown !== undefined) throw invalid(`Unknown parameter ${unknown}`, unknown);
      if (call === 'POST /payments') return createPayment(body, scriptedCards[outcome]);
      if (call === 'POST /refunds') return createRefund(body, outcome === 'soft_decline');
      checkConfirmation(body['confirmation']);
      const method = add(methods, { type: 'bank_card', saved: false, status: 'pending' });
      return Object.assign(method, { confirmation: pageOf(method.id) });
    },
    pay(id, card) {
      const payment = payments.get(id);
      if (payment?.status === 'pending') {
        const known = payment['payment_method'];
        const method =
          known ?? (payment['saves'] === true ? shownMethod(save(card)) : { type: 'bank_card', saved: false });
        Object.assign(payment, { status: 'succeeded', paid: true, refundable: true, payment_method: method });
        issue('payment', payment, receiptOfPayment.get(id));
        tell('payment.succeeded', payment);
        return true;
      }
      const binding = methods.get(id);
      if (binding?.status === 'pending') {
        const { card: shown, title } = save(card);
        Object.assign(binding, { status: 'active', saved: true, card: shown, title });
        cards.set(id, card);
        tell('payment_method.active', binding);
        return true;
      }
      return false;
    },
    cancel(id) {
      const payment = payments.get(id);
      if (payment?.status !== 'pending') return false;
      const details = { party: 'payment_network', reason: 'general_decline' };
      tell('payment.canceled', Object.assign(payment, { status: 'canceled', cancellation_details: details }));
      return true;
    },
  };
  return shop;
}

/** Of `{ value: '5.00' }`. */
export function kopecks(amount: unknown): bigint {
  return BigInt(String((amount as { value?: unknown }).value).replace('.', ''));
}

function checkAmount(amount: unknown): void {
  const { value, currency } = (amount ?? {}) as Body;
  if (typeof value !== 'string' || !/^[0-9]+\.[0-9]{2}$/.test(value) || kopecks(amount) === 0n) {
    throw invalid('Invalid amount', 'amount.value');
  }
  if (currency !== 'RUB') throw invalid('Invalid currency', 'amount.currency');
}

function checkConfirmation(confirmation: unknown): void {
  const { type, return_url: returnUrl } = (confirmation ?? {}) as Body;
  if (type !== 'redirect' || !URL.canParse(String(returnUrl))) throw invalid('Invalid confirmation', 'confirmation');
}
