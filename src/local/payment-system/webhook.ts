import type { DisputeObject, LedgerEvent, LedgerLine, PaymentObject, RefundObject } from './ledger-line.ts';

/** A webhook: what it tells, and what became of it so far. */
export interface Webhook extends LedgerEvent {
  readonly createdAt: string;
  readonly payment: PaymentObject;
  readonly refund: RefundObject | undefined;
  readonly dispute: DisputeObject | undefined;
  /** How often it was sent; one that is lost never is. */
  triesCount: number;
  /** The merchant took it, at least once. */
  isDelivered: boolean;
  /** Of the latest try, which may have had no answer. */
  lastStatus: number | undefined;
  lastTriedAt: string | undefined;
  /** By the test clock, ms since the epoch; past when it is over. */
  nextTryMs: number;
}

export interface WebhookState {
  /** All of them, in the order in which they were made. */
  readonly webhooks: Webhook[];
  /** Those that are still to be sent, by id. */
  readonly pendingWebhooks: Map<string, Webhook>;
}

/** Takes what a line tells of webhooks into the state: a new one, or one try. */
export function applyWebhook(state: WebhookState, line: LedgerLine): void {
  if (line.event) {
    const webhook: Webhook = {
      ...line.event,
      createdAt: line.at,
      payment: line.payment!,
      refund: line.refund,
      dispute: line.dispute,
      triesCount: 0,
      isDelivered: false,
      lastStatus: undefined,
      lastTriedAt: undefined,
      nextTryMs: Date.parse(line.event.first_at ?? line.at),
    };
    state.webhooks.push(webhook);
    state.pendingWebhooks.set(webhook.id, webhook);
  }
  if (line.delivery) applyTry(state, line.delivery, line.at);
}

function applyTry(state: WebhookState, delivery: NonNullable<LedgerLine['delivery']>, at: string): void {
  const webhook = state.pendingWebhooks.get(delivery.event);
  if (!webhook) return;
  if (webhook.fault !== 'lost') {
    webhook.triesCount += 1;
    webhook.lastStatus = delivery.status;
    webhook.lastTriedAt = at;
  }
  if (delivery.delivered) webhook.isDelivered = true;
  if (delivery.next_at === null) state.pendingWebhooks.delete(delivery.event);
  else webhook.nextTryMs = Date.parse(delivery.next_at);
}
