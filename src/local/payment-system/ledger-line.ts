import type { BehaviourName, Card } from './cards.ts';
import type { PlayName } from './scripts.ts';

export type PaymentStatus =
  | 'open'
  /** The customer has to confirm the charge. */
  | 'requires_action'
  /** Goes its way without anybody; cannot be cancelled. */
  | 'processing'
  | 'succeeded'
  | 'declined'
  | 'expired'
  | 'canceled';

/** A payment as the API and the webhooks show it, and as the ledger keeps it. Instants are ISO, by the test clock. */
export interface PaymentObject {
  readonly id: string;
  readonly kind: 'checkout' | 'off_session';
  /** A set-up only saves a card: its amount is zero. */
  readonly mode: 'payment' | 'setup';
  readonly status: PaymentStatus;
  readonly amount_minor: string;
  readonly currency: string;
  readonly customer: string;
  readonly customer_reference: string;
  readonly payment_method: PaymentMethodObject | null;
  readonly reference: string;
  readonly description: string;
  /** Of the latest try; an open checkout can have one. */
  readonly decline_code: string | null;
  readonly decline_kind: 'soft' | 'hard' | null;
  readonly refunded_minor: string;
  readonly page_url: string | null;
  /** Where the customer confirms a charge that needs it; stays when that is over. */
  readonly action_url: string | null;
  readonly created_at: string;
  readonly settled_at: string | null;
  readonly expires_at: string | null;
}

export interface PaymentMethodObject {
  readonly id: string;
  readonly brand: string;
  readonly last4: string;
  readonly expiry_month: number;
  readonly expiry_year: number;
  /** The same for the same card, whoever saves it. */
  readonly fingerprint: string;
}

export interface RefundObject {
  readonly id: string;
  readonly payment: string;
  readonly status: 'succeeded' | 'pending' | 'failed';
  readonly failure_reason: string | null;
  readonly amount_minor: string;
  readonly currency: string;
  readonly reference: string;
  readonly created_at: string;
}

/** A cardholder's dispute of a payment. */
export interface DisputeObject {
  readonly id: string;
  readonly payment: string;
  readonly payment_reference: string;
  /** Withdrawn: the bank has taken the money until it is decided. */
  readonly status: 'withdrawn' | 'won' | 'lost';
  readonly amount_minor: string;
  readonly currency: string;
  readonly reason: string;
  readonly created_at: string;
}

/** A saved card and whose it is. */
export interface SavedMethod extends PaymentMethodObject {
  readonly customer: string;
  readonly behaviour: BehaviourName;
  readonly detached: boolean;
}

/** What a call with an idempotency key did. The answer is the line's refund, or else its payment. */
export interface KeyUse {
  readonly key: string;
  readonly request_hash: string;
  /** False when the caller never got, and never will get, an answer. */
  readonly answered: boolean;
  /** The caller got, and always will get, an internal error instead of the answer. */
  readonly failed?: boolean;
}

export const webhookFaults = ['duplicated', 'late', 'shuffled', 'lost', 'badly_signed'] as const;

/**
 * What is done to a webhook. Late: ten minutes by the test clock; shuffled: up to one minute, each another; badly
 * signed: the first time it is sent.
 */
export type WebhookFault = (typeof webhookFaults)[number];

/** What is still to be played for a customer. */
export interface Script {
  readonly customer_reference: string;
  /** One for each charge to come; when there are no more, the card decides. */
  readonly charges: readonly ScriptStep[];
  /** One for each refund to come. */
  readonly refunds?: readonly ScriptStep[];
  readonly webhooks: WebhookFault | null;
}

export interface ScriptStep {
  readonly outcome: PlayName | 'by_card';
  readonly times: number;
  /** The answer comes that much later; real time. */
  readonly delay_ms: number;
}

export type EventType =
  | 'payment.succeeded'
  | 'payment.declined'
  | 'payment.expired'
  | 'payment.canceled'
  | 'payment.action_required'
  | 'refund.succeeded'
  | 'refund.failed'
  | 'dispute.opened'
  | 'dispute.won'
  | 'dispute.lost';

/** How something that is under way ends by itself. By the test clock. */
export interface Ending {
  readonly at: string;
  readonly succeeds: boolean;
}

/** A webhook to send. What it tells is the line's payment, and its refund. */
export interface LedgerEvent {
  readonly id: string;
  readonly type: EventType;
  readonly fault?: WebhookFault;
  /** When it is sent for the first time, if not at once. */
  readonly first_at?: string;
}

/** One try to send a webhook. */
export interface Delivery {
  readonly event: string;
  readonly delivered: boolean;
  /** Of the merchant's answer, HTTP; left out when there was none. */
  readonly status?: number;
  /** When to try again; null when delivered or given up. */
  readonly next_at: string | null;
}

/** The test clock stood at `now` when the real clock showed `real`. */
export interface ClockSetting {
  readonly now: string;
  readonly real: string;
  readonly running: boolean;
}

/**
 * One line of the ledger: all that one step changed, so that a crash leaves the whole step or nothing. A payment, a
 * method or a refund is written as it is after the step.
 */
export interface LedgerLine {
  readonly type:
    | 'checkout_opened'
    | 'card_tried'
    | 'checkout_expired'
    | 'charged'
    | 'action_answered'
    | 'charge_settled'
    | 'charge_canceled'
    | 'refunded'
    | 'refund_settled'
    | 'disputed'
    | 'dispute_closed'
    | 'method_detached'
    | 'webhook_tried'
    | 'clock_set'
    | 'scripted'
    | 'faults_set'
    | 'fault_played';
  /** By the test clock. */
  readonly at: string;
  readonly payment?: PaymentObject;
  /** Where the page of an opened checkout sends the customer. */
  readonly return_url?: string;
  /** The card of a try on the page. */
  readonly card?: Card;
  readonly method?: SavedMethod;
  readonly refund?: RefundObject;
  readonly dispute?: DisputeObject;
  /** Of the line's refund, or else of its payment. */
  readonly ending?: Ending;
  readonly key?: KeyUse;
  /** As it is after the step. */
  readonly script?: Script;
  /** Null when random faults end. */
  readonly fault_seed?: number | null;
  /** A key that a random fault hit once more. */
  readonly hit_key?: string;
  readonly event?: LedgerEvent;
  readonly delivery?: Delivery;
  readonly clock?: ClockSetting;
}
