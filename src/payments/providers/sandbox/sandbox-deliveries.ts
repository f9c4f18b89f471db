import { OutcomeUnknown } from '../../provider.ts';
import { fieldsOf, idForm, text, whole } from './sandbox-fields.ts';

const states = {
  waiting: 'WAITING',
  held_back: 'HELD_BACK',
  delivered: 'DELIVERED',
  lost: 'LOST',
  given_up: 'GIVEN_UP',
} as const;
const stateForm = new RegExp(`^(${Object.keys(states).join('|')})$`);
const userIdForm = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const triesMax = 1_000_000;

/** One of the payment system's notices and what became of it, by its own clock. */
export interface SandboxDelivery {
  /** Its place among all notices, in the order in which they were made. */
  readonly number: number;
  readonly providerEventId: string;
  readonly type: string;
  readonly providerPaymentId: string;
  /** Undefined where the payment is no viewer's. */
  readonly userId: string | undefined;
  readonly state: (typeof states)[keyof typeof states];
  readonly tries: number;
  readonly lastHttpStatus: number | undefined;
  readonly createdAt: Temporal.Instant;
  readonly lastTriedAt: Temporal.Instant | null;
  readonly nextTryAt: Temporal.Instant | null;
}

/** The newest of a viewer's notices, or of all, before one of them by its number. */
export interface SandboxDeliveryQuery {
  readonly userId: string | undefined;
  readonly before: number | undefined;
  readonly limit: number;
}

/** Where `GET /v1/webhooks` lists them. */
export function deliveriesPath({ userId, before, limit }: SandboxDeliveryQuery): string {
  const query = new URLSearchParams({
    limit: String(limit),
    ...(userId !== undefined && { customer_reference: userId }),
    ...(before !== undefined && { before: String(before) }),
  });
  return `/v1/webhooks?${query}`;
}

/** Reads the answer of `GET /v1/webhooks`. Throws OutcomeUnknown. */
export function readDeliveries(answer: unknown): SandboxDelivery[] {
  try {
    const { data } = fieldsOf(answer);
    if (!Array.isArray(data)) throw new Error('not a list');
    return data.map(readDelivery);
  } catch (cause) {
    throw new OutcomeUnknown('the payment system answered with something that is not a list of notices', { cause });
  }
}

function readDelivery(value: unknown): SandboxDelivery {
  const webhook = fieldsOf(value);
  const instant = (name: string) => Temporal.Instant.from(text(webhook, name, idForm));
  const optionalInstant = (name: string) => (webhook[name] === null ? null : instant(name));
  const reference = webhook['customer_reference'];
  return {
    number: whole(webhook, 'number', 0, Number.MAX_SAFE_INTEGER),
    providerEventId: text(webhook, 'id', idForm),
    type: text(webhook, 'type', idForm),
    providerPaymentId: text(webhook, 'payment', idForm),
    userId: typeof reference === 'string' && userIdForm.test(reference) ? reference : undefined,
    state: states[text(webhook, 'state', stateForm) as keyof typeof states],
    tries: whole(webhook, 'tries', 0, triesMax),
    lastHttpStatus: webhook['last_status'] === null ? undefined : whole(webhook, 'last_status', 100, 599),
    createdAt: instant('created_at'),
    lastTriedAt: optionalInstant('last_tried_at'),
    nextTryAt: optionalInstant('next_try_at'),
  };
}
