import { randomUUID } from 'node:crypto';
import type { PaymentObject, TestPaymentSystem } from './payment-system.ts';

export interface MerchantAnswer {
  readonly status: number;
  /** As it came. */
  readonly text: string;
  readonly body: Record<string, unknown>;
}

export interface CallOptions {
  key?: string;
  method?: string;
  body?: object;
  signal?: AbortSignal;
}

/** Calls the payment system's API as a merchant, in bare HTTP, not through our own client. */
export interface Merchant {
  call(path: string, options?: CallOptions): Promise<MerchantAnswer>;
  /** Opens a checkout of 599 roubles, unless told otherwise. */
  openCheckout(more?: object, key?: string): Promise<PaymentObject>;
  /** Opens a checkout and pays it; the answer is its payment. */
  saveCard(card?: string): Promise<PaymentObject>;
  /** The parameters of a charge of 299 roubles to the card of a payment. */
  chargeOf(payment: PaymentObject, reference?: string): object;
}

/** A merchant of this payment system; a function, so that it follows a restart. */
export function merchantOf(system: () => TestPaymentSystem): Merchant {
  const call: Merchant['call'] = async (path, { key, body, signal, ...options } = {}) => {
    const { url, apiKey } = system();
    const response = await fetch(`${url}${path}`, {
      method: options.method ?? (body ? 'POST' : 'GET'),
      headers: { authorization: `Bearer ${apiKey}`, ...(key === undefined ? {} : { 'idempotency-key': key }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(signal === undefined ? {} : { signal }),
    });
    const text = await response.text();
    return { status: response.status, text, body: JSON.parse(text) as Record<string, unknown> };
  };

  const openCheckout: Merchant['openCheckout'] = async (more = {}, key = randomUUID()) => {
    const body = {
      amount_minor: '59900',
      currency: 'RUB',
      reference: randomUUID(),
      customer_reference: randomUUID(),
      description: 'Basic, monthly',
      ...more,
    };
    const { status, text } = await call('/v1/checkouts', { key, body });
    if (status !== 200) throw new Error(text);
    return JSON.parse(text) as PaymentObject;
  };

  return {
    call,
    openCheckout,
    saveCard: async (card) => {
      const { id, page_url: pageUrl } = await openCheckout();
      await system().pay(pageUrl!, card);
      return JSON.parse((await call(`/v1/payments/${id}`)).text) as PaymentObject;
    },
    chargeOf: ({ customer, payment_method: method }, reference = randomUUID()) => ({
      amount_minor: '29900',
      currency: 'RUB',
      reference,
      customer,
      payment_method: method!.id,
      description: 'Basic, February',
    }),
  };
}
