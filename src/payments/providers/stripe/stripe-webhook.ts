import type { Stripe } from 'stripe';
import { WebhookRejected, type ProviderEvent, type RawNotice } from '../../provider.ts';

const headerLengthMax = 4096;
/** A notice older or newer than this, by real time, may be a replay. */
const ageMaxS = 300;
const nameForm = /^[\x21-\x7e]{1,255}$/;
const aboutPayments: ReadonlySet<string> = new Set([
  'checkout.session.async_payment_failed',
  'checkout.session.async_payment_succeeded',
  'checkout.session.completed',
  'checkout.session.expired',
  'payment_intent.canceled',
  'payment_intent.payment_failed',
  'payment_intent.processing',
  'payment_intent.requires_action',
  'payment_intent.succeeded',
]);

const aboutDisputes: ReadonlySet<string> = new Set([
  'charge.dispute.closed',
  'charge.dispute.created',
  'charge.dispute.funds_reinstated',
  'charge.dispute.funds_withdrawn',
  'charge.dispute.updated',
]);

/**
 * Checks `Stripe-Signature` against each active secret. The package's check lets a notice from the future pass, so its
 * time is checked here, in both directions. Throws WebhookRejected.
 */
export function authenticate(stripe: Stripe, notice: RawNotice, secrets: readonly string[]): void {
  const header = notice.headers['stripe-signature'] ?? '';
  if (header === '' || header.length > headerLengthMax) throw new WebhookRejected('no signature, or one too long');
  const times = [...header.matchAll(/(?:^|,)t=([^,]*)/g)].map(([, time]) => time!);
  if (times.length !== 1 || !/^[0-9]{1,12}$/.test(times[0]!)) throw new WebhookRejected('not exactly one time');
  const ageS = Math.floor(Date.now() / 1000) - Number(times[0]);
  if (Math.abs(ageS) > ageMaxS) throw new WebhookRejected('the signature is too old or from the future');
  const isSigned = secrets.map((secret) => {
    try {
      return stripe.webhooks.signature!.verifyHeader(Buffer.from(notice.raw), header, secret, ageMaxS);
    } catch {
      return false;
    }
  });
  if (!isSigned.includes(true)) throw new WebhookRejected('no signature fits');
}

/**
 * Reads an authenticated notice: which payment or dispute to look up, nothing else is used. The intent behind a page is told of by
 * the page's own notices. One of another kind, or of the other mode (live or test), is about no payment of ours.
 * Throws WebhookRejected.
 */
export function readNotice(raw: Uint8Array, isLive: boolean): ProviderEvent {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(raw);
    const notice = JSON.parse(text) as Record<'object' | 'id' | 'type' | 'livemode', unknown> & { data: unknown };
    const [eventId, type] = [name(notice.id), name(notice.type)];
    if (notice.object !== 'event') throw new Error('not an event');
    if (aboutDisputes.has(type) && notice.livemode === isLive) {
      const { object } = notice.data as { object: { id: unknown } };
      return { eventId, type, payment: undefined, providerDisputeId: name(object.id) };
    }
    if (!aboutPayments.has(type) || notice.livemode !== isLive) return { eventId, type, payment: undefined };
    const { object } = notice.data as { object: { id: unknown; metadata?: Record<string, unknown> | null } };
    const { reference, via } = object.metadata ?? {};
    const isOurs = typeof reference === 'string' && nameForm.test(reference);
    if (!isOurs || (via === 'page' && type.startsWith('payment_intent.'))) return { eventId, type, payment: undefined };
    return { eventId, type, payment: { providerPaymentId: name(object.id), reference } };
  } catch (cause) {
    throw new WebhookRejected('the body is not a notice', { cause });
  }
}

function name(value: unknown): string {
  if (typeof value !== 'string' || !nameForm.test(value)) throw new Error('not a name');
  return value;
}
