import type { Books } from './books.ts';
import { readWhole } from './parameters.ts';
import { isoOf } from './test-clock.ts';
import type { Webhook } from './webhook.ts';

/** A webhook as the API lists it. Instants are ISO, by the test clock. */
export interface WebhookObject {
  /** Its place among all webhooks, from 0 in the order in which they were made. */
  readonly number: number;
  readonly id: string;
  readonly type: string;
  readonly payment: string;
  readonly customer_reference: string;
  readonly state: 'waiting' | 'held_back' | 'delivered' | 'lost' | 'given_up';
  readonly tries: number;
  /** HTTP; null when it was not sent yet, or the latest try had no answer. */
  readonly last_status: number | null;
  readonly created_at: string;
  readonly last_tried_at: string | null;
  /** Null when it is not sent any more. */
  readonly next_try_at: string | null;
}

const limits = { min: 1, max: 1_000, otherwise: 100 };

/** A page of the webhooks, newest first, before one of them by its number; of one customer, or of all. */
export function listWebhooks({ state, clock }: Books, query: URLSearchParams): { data: WebhookObject[] } {
  const { webhooks, pendingWebhooks } = state;
  const wholeOf = (name: string) => (query.has(name) ? Number(query.get(name) || Number.NaN) : undefined);
  const limit = readWhole(wholeOf('limit'), 'limit', limits);
  const beforeLimits = { min: 0, max: Number.MAX_SAFE_INTEGER, otherwise: webhooks.length };
  const before = readWhole(wholeOf('before'), 'before', beforeLimits);
  const customer = query.get('customer_reference');
  const nowMs = clock.nowMs();
  const data: WebhookObject[] = [];
  for (let number = Math.min(before, webhooks.length) - 1; number >= 0 && data.length < limit; number--) {
    const webhook = webhooks[number]!;
    if (customer !== null && webhook.payment.customer_reference !== customer) continue;
    data.push(shown(webhook, { number, nowMs, isPending: pendingWebhooks.has(webhook.id) }));
  }
  return { data };
}

interface Place {
  readonly number: number;
  readonly nowMs: number;
  readonly isPending: boolean;
}

function shown(webhook: Webhook, place: Place): WebhookObject {
  const isLost = webhook.fault === 'lost';
  return {
    number: place.number,
    id: webhook.id,
    type: webhook.type,
    payment: webhook.payment.id,
    customer_reference: webhook.payment.customer_reference,
    state: stateOf(webhook, place),
    tries: webhook.triesCount,
    last_status: webhook.lastStatus ?? null,
    created_at: webhook.createdAt,
    last_tried_at: webhook.lastTriedAt ?? null,
    next_try_at: place.isPending && !isLost ? isoOf(webhook.nextTryMs) : null,
  };
}

/** Delivered once is delivered, also while a duplicate is on its way. */
function stateOf(webhook: Webhook, { nowMs, isPending }: Place): WebhookObject['state'] {
  if (webhook.isDelivered) return 'delivered';
  if (webhook.fault === 'lost') return 'lost';
  if (!isPending) return 'given_up';
  return webhook.triesCount === 0 && webhook.nextTryMs > nowMs ? 'held_back' : 'waiting';
}
