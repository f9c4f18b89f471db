import type { Money } from '../lib/money.ts';

/**
 * A payment system. Providers differ in their capabilities, never in branches elsewhere.
 *
 * The rule of every call that moves money: a decline is a value, an unknown outcome is an exception
 * (`OutcomeUnknown`); `NotExecuted` promises that nothing happened, `RequestRefused` that nothing happened and that
 * the fault is ours. No other exception may leave a provider.
 */
export interface PaymentProvider {
  /** Our name for it, as in `POST /v1/webhooks/{name}`. */
  readonly name: string;
  /** The merchant account it charges for; rows are keyed by (provider, merchant account). */
  readonly merchantAccount: string;
  readonly capabilities: ProviderCapabilities;

  /**
   * Opens the provider's page for a payment that also saves the method, or one that only saves it. The same key gives
   * the same page.
   */
  startCheckout(request: CheckoutRequest): Promise<CheckoutPage>;
  /** Kills a page so that no money can come through it any more; tells what became of it: `dead`, or `succeeded`. */
  expireCheckout(providerPaymentId: string): Promise<PaymentOutcome>;
  /**
   * Charges a saved method without the customer. The same key never charges twice within `idempotencyWindowMs`. A
   * method that the provider no longer has is a hard decline.
   */
  charge(request: ChargeRequest): Promise<PaymentOutcome>;
  /**
   * Kills a charge that waits, so that no money can come through it any more; tells what became of it: still `waiting`
   * where it cannot be killed. Only with `canCancelPending`.
   */
  cancelPending(providerPaymentId: string): Promise<PaymentOutcome>;
  /** Forgets a saved method: it cannot be charged any more. One that is already gone is fine. */
  detachMethod(method: MethodOfCustomer): Promise<void>;
  /** Gives money of a succeeded payment back. The same key never gives back twice within `idempotencyWindowMs`. */
  refund(request: RefundRequest): Promise<RefundOutcome>;
  /** What became of a refund; undefined when the provider has none. A repeat of `refund` only tells how it began. */
  lookUpRefund(query: RefundQuery): Promise<RefundOutcome | undefined>;
  /** What became of a payment; undefined when the provider has none. */
  lookUp(query: LookUpQuery | ForeignQuery): Promise<PaymentOutcome | undefined>;
  /** What became of a cardholder's dispute; undefined when the provider has none of that id. Only with `reportsDisputes`. */
  lookUpDispute(providerDisputeId: string): Promise<DisputeOutcome | undefined>;
  /** Every dispute opened at the provider in `[from, to)`, as it is now, a page at a time. Only with `reportsDisputes`. */
  listDisputes(query: ListQuery): Promise<DisputePage>;
  /** What became of the receipt of a payment, or of a refund; undefined when there is none. Only with `fiscalizes`. */
  lookUpReceipt(query: ReceiptQuery): Promise<ReceiptOutcome | undefined>;
  /** Every payment begun at the provider in `[from, to)`, whatever became of it, a page at a time; moves no money. */
  listPayments(query: ListQuery): Promise<PaymentPage>;

  /**
   * Checks who sent a notice, over the raw bytes and before parsing anything. Throws `WebhookRejected`.
   * `hint only` is the answer of a provider that does not sign: nothing in its notice is believed.
   */
  authenticateWebhook(notice: RawNotice): 'signed' | 'hint only';
  /** Reads an authenticated notice. Throws `WebhookRejected` when it is not one. */
  readWebhook(raw: Uint8Array): ProviderEvent;
}

export interface ProviderCapabilities {
  /** How long the provider remembers an idempotency key; a later repeat could charge again. */
  readonly idempotencyWindowMs: number;
  /** Whether `lookUp` finds a payment by our reference alone. */
  readonly lookUpByReference: boolean;
  /** Whether `cancelPending` can kill a charge that waits; where not, it is followed to its end. */
  readonly canCancelPending: boolean;
  /** Whether `expireCheckout` can close an open page; where not, it is unknown until the page ends by itself. */
  readonly canCloseCheckout: boolean;
  /** Whether `detachMethod` makes the provider forget; where not, forgetting its id is all there is. */
  readonly canDetachMethod: boolean;
  /** Whether it can charge in the currency, an ISO 4217 code. */
  takesCurrency(currencyCode: string): boolean;
  /** Whether the provider tells of disputes, and what becomes of them. */
  readonly reportsDisputes: boolean;
  /** Where the provider issues the receipts that the law wants (54-FZ): on which terms. */
  readonly fiscalizes: FiscalTerms | undefined;
  /** How long a checkout page stays open. */
  readonly checkoutTtlMs: number;
  /** How many calls may be under way at once. */
  readonly maxConcurrency: number;
  /** A call without an answer by then is given up: its outcome is unknown. Real time. */
  readonly callDeadlineMs: number;
  /** The least that it charges in the currency, an ISO 4217 code; 1 where it is not known to have a minimum. */
  minimumAmountMinor(currencyCode: string): bigint;
}

/** What a receipt says of everything that we sell, in the provider's codes. */
export interface FiscalTerms {
  readonly vatCode: number;
  readonly subject: string;
  readonly mode: string;
}

/** What is to be on the receipt of a payment or a refund, beside its amount. */
export interface ReceiptData extends FiscalTerms {
  /** An e-mail address. */
  readonly contact: string;
  readonly lineText: string;
}

export interface ReceiptQuery {
  readonly providerPaymentId: string;
  /** Of a refund's receipt. */
  readonly providerRefundId: string | undefined;
}

export interface ReceiptOutcome {
  readonly status: 'pending' | 'issued' | 'failed';
  /** By which the tax office knows it; empty until it is issued. */
  readonly fiscalDocument: string;
}

/** Frozen when the attempt row is written; a repeat sends exactly the same. */
export interface CheckoutRequest {
  /** `setup` saves the method and takes nothing: the amount is zero. */
  readonly mode: 'payment' | 'setup';
  readonly idempotencyKey: string;
  /** Our reference: the attempt's id. The provider keeps it with the payment. */
  readonly reference: string;
  readonly amount: Money;
  /** Auth's user id. */
  readonly customerReference: string;
  readonly description: string;
  /** Where the page sends the customer afterwards; empty for nowhere. */
  readonly returnUrl: string;
  /** With `fiscalizes`, of a payment. */
  readonly receipt?: ReceiptData | undefined;
}

export interface CheckoutPage {
  readonly providerPaymentId: string;
  readonly url: string;
  readonly expiresAt: Temporal.Instant;
}

export interface ChargeRequest {
  readonly idempotencyKey: string;
  readonly reference: string;
  readonly amount: Money;
  readonly providerCustomerId: string;
  readonly providerMethodId: string;
  readonly description: string;
  readonly receipt?: ReceiptData | undefined;
}

export interface RefundRequest {
  readonly receipt?: ReceiptData | undefined;
  readonly idempotencyKey: string;
  /** Our reference: the refund's id. */
  readonly reference: string;
  readonly providerPaymentId: string;
  readonly amount: Money;
}

/** A method as `charge` names it. */
export type MethodOfCustomer = Pick<ChargeRequest, 'providerCustomerId' | 'providerMethodId'>;

export interface RefundQuery {
  readonly providerRefundId?: string | undefined;
  readonly reference: string;
  readonly providerPaymentId: string;
}

/** What became of a refund, as far as the provider knows. */
export type RefundOutcome =
  | { readonly kind: 'succeeded'; readonly providerRefundId: string }
  /** The provider has not finished yet. */
  | { readonly kind: 'pending'; readonly providerRefundId: string }
  /** Nothing went back and nothing will; the reason is the provider's code. */
  | { readonly kind: 'failed'; readonly providerRefundId: string; readonly reason: string };

/** What became of a dispute, as far as the provider knows. */
export interface DisputeOutcome {
  readonly providerDisputeId: string;
  /** The payment that is disputed, with our reference where we began it; neither where the provider names none. */
  readonly payment: LookUpQuery;
  /**
   * `no funds moved`: a question only. `withdrawn`: the bank has taken the money until it is decided. `reinstated`: it
   * came back. `lost`: it stays away.
   */
  readonly status: 'no funds moved' | 'withdrawn' | 'reinstated' | 'lost';
  readonly amount: Money;
  /** The provider's code. */
  readonly reason: string;
}

export interface LookUpQuery {
  readonly providerPaymentId?: string | undefined;
  readonly reference: string;
}

/** A payment that somebody else began, under whatever reference. */
export interface ForeignQuery {
  readonly providerPaymentId: string;
  readonly reference?: undefined;
}

/** What is listed began in `[from, to)`. */
export interface ListQuery {
  readonly from: Temporal.Instant;
  readonly to: Temporal.Instant;
  /** From the page before; undefined for the first page. */
  readonly cursor?: string | undefined;
}

export interface PaymentPage {
  readonly payments: readonly ListedPayment[];
  /** Undefined on the last page. */
  readonly nextCursor: string | undefined;
}

export interface DisputePage extends Pick<PaymentPage, 'nextCursor'> {
  readonly disputes: readonly DisputeOutcome[];
}

/** A payment as the provider's own books have it. */
export interface ListedPayment {
  readonly providerPaymentId: string;
  /** Ours where we began it; anything where somebody else did. */
  readonly reference: string;
  readonly status: PaymentOutcome['kind'];
  readonly amount: Money;
  /** Of the amount; what has gone back so far, in the same currency. */
  readonly refundedMinor: bigint;
  readonly createdAt: Temporal.Instant;
}

/** What became of a payment, as far as the provider knows. */
export type PaymentOutcome =
  | {
      readonly kind: 'succeeded';
      readonly providerPaymentId: string;
      /** What was really taken; the settle compares it with what was owed. */
      readonly amount: Money;
      /** Of it; what has gone back so far. */
      readonly refundedMinor: bigint;
      readonly method: SavedMethod | undefined;
    }
  /** The page of a set-up was finished: the method may be charged, and no money was taken. */
  | { readonly kind: 'method saved'; readonly providerPaymentId: string; readonly method: SavedMethod }
  | {
      readonly kind: 'declined';
      readonly providerPaymentId: string;
      readonly declineCode: string;
      readonly hard: boolean;
    }
  /** The customer, or the provider, has not finished yet; `actionUrl` is where the customer confirms (3-D Secure). */
  | { readonly kind: 'waiting'; readonly providerPaymentId: string; readonly actionUrl?: string }
  /** It can never succeed any more and nothing was taken; without an id when the provider never had it. */
  | { readonly kind: 'dead'; readonly providerPaymentId?: string };

/** A method that the provider keeps for recurring payments. No card number ever comes here. */
export interface SavedMethod {
  readonly providerCustomerId: string;
  readonly providerMethodId: string;
  readonly brand: string;
  readonly last4: string;
  readonly expiryMonth: number;
  readonly expiryYear: number;
  /** The same for the same instrument, whoever saves it and however often; says nothing else about it. */
  readonly fingerprint: string;
}

export interface RawNotice {
  readonly raw: Uint8Array;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  /** Of whoever opened the connection: of the proxy, where one stands before us. */
  readonly remoteAddress: string;
}

/** A notice is a hint: it says which payment to look up, not what became of it. */
export interface ProviderEvent {
  readonly eventId: string;
  readonly type: string;
  /** The payment that it is about; undefined for a kind of notice that is about none. */
  readonly payment: LookUpQuery | undefined;
  /** The dispute that it is about, where it is about one; `payment` is undefined then. */
  readonly providerDisputeId?: string;
}

/** The provider may or may not have done it: timeout, reset, 5xx. Only a look-up can tell. */
export class OutcomeUnknown extends Error {
  override readonly name = 'OutcomeUnknown';
}

/** Nothing happened; the same request with the same key may be sent again: refused connection, rate limit, key in use. */
export class NotExecuted extends Error {
  override readonly name = 'NotExecuted';
  readonly retryAfterMs: number | undefined;
  constructor(message: string, options: ErrorOptions & { retryAfterMs?: number } = {}) {
    super(message, options);
    this.retryAfterMs = options.retryAfterMs;
  }
}

/** Nothing happened and nothing will: bad credentials, invalid parameters, a key with other parameters. Needs a person. */
export class RequestRefused extends Error {
  override readonly name = 'RequestRefused';
}

/** The notice is not from the provider, or not a notice. The message is for the log. */
export class WebhookRejected extends Error {
  override readonly name = 'WebhookRejected';
}
