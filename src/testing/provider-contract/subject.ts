import { randomUUID } from 'node:crypto';
import type {
  ChargeRequest,
  CheckoutRequest,
  PaymentProvider,
  RawNotice,
  SavedMethod,
} from '../../payments/provider.ts';

/** How a saved card behaves when it is charged later; on the page each of them pays. */
export type CardKind = 'good' | 'no funds later' | 'stolen later';

/** A payment system that a provider is proved against, and what is known of it from elsewhere than the provider. */
export interface ContractSubject {
  /** Where the payment system listens; a proxy is put before it. */
  readonly url: string;
  readonly currencyCode: string;
  build(options?: BuildOptions): PaymentProvider;
  /** What a customer does on the page. */
  pay(pageUrl: string, card: CardKind): Promise<void>;
  /** The payment system's own books: what was taken and given back for a reference. Never through the provider. */
  bookOf(reference: string): Promise<Book>;
  /** Changes every amount in an answer of the payment system to another one. */
  withOtherAmount(answer: string): string;
  /**
   * A cardholder disputes the payment, and the bank takes its money back; gives the dispute's id. Where the payment
   * system tells of disputes.
   */
  dispute?(payment: { providerPaymentId: string; reference: string }): Promise<string>;
  /** A notice of that payment as the payment system sends it, made `ageS` seconds ago. */
  noticeOf(payment: { providerPaymentId: string; reference: string }, ageS?: number): RawNotice;
}

export interface BuildOptions {
  /** Another address than the payment system's own. */
  readonly url?: string;
  readonly callDeadlineMs?: number;
  /** What it identifies itself with, and what it checks notices with, are not the payment system's. */
  readonly wrongSecrets?: boolean;
}

export interface Book {
  readonly chargeCount: number;
  readonly takenMinor: bigint;
  readonly returnedMinor: bigint;
}

export const price = 59_900n;
export const renewal = 29_900n;

/** A page for the first payment, or for a set-up. */
export function checkoutRequest(subject: ContractSubject, mode: CheckoutRequest['mode'] = 'payment'): CheckoutRequest {
  const reference = randomUUID();
  return {
    mode,
    idempotencyKey: `pay_${reference}_1`,
    reference,
    amount: { currencyCode: subject.currencyCode, amountMinor: mode === 'setup' ? 0n : price },
    customerReference: randomUUID(),
    description: 'Basic, monthly',
    returnUrl: 'https://cinema.example/done',
  };
}

/** A charge of a saved card. */
export function chargeRequest(subject: ContractSubject, method: SavedMethod): ChargeRequest {
  const reference = randomUUID();
  return {
    idempotencyKey: `pay_${reference}_1`,
    reference,
    amount: { currencyCode: subject.currencyCode, amountMinor: renewal },
    providerCustomerId: method.providerCustomerId,
    providerMethodId: method.providerMethodId,
    description: 'Basic, February',
  };
}

/** A payment through a page: its id, its reference and the card that it saved. */
export async function payOnPage(
  subject: ContractSubject,
  card: CardKind = 'good',
): Promise<{ providerPaymentId: string; reference: string; method: SavedMethod }> {
  const provider = subject.build();
  const request = checkoutRequest(subject);
  const { providerPaymentId, url } = await provider.startCheckout(request);
  await subject.pay(url, card);
  const { reference } = request;
  const outcome = await provider.lookUp({ providerPaymentId, reference });
  if (outcome?.kind !== 'succeeded' || !outcome.method) throw new Error(`the page was not paid: ${outcome?.kind}`);
  return { providerPaymentId: outcome.providerPaymentId, reference, method: outcome.method };
}
