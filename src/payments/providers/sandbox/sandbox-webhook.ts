import { createHmac, timingSafeEqual } from 'node:crypto';
import { WebhookRejected, type ProviderEvent, type RawNotice } from '../../provider.ts';

const headerLengthMax = 1024;
const signaturesMax = 8;
/** A notice older or newer than this, by real time, may be a replay. */
const ageMaxS = 300;
const paymentTypes: ReadonlySet<string> = new Set([
  'payment.succeeded',
  'payment.declined',
  'payment.expired',
  'payment.canceled',
  'payment.action_required',
]);
const disputeTypes: ReadonlySet<string> = new Set(['dispute.opened', 'dispute.won', 'dispute.lost']);
type Body = Record<string, unknown>;
const nameForm = /^[\x21-\x7e]{1,128}$/;

/**
 * Checks `Sandbox-Signature: t=<unix seconds>,v1=<hex HMAC-SHA256 of "<t>.<raw body>">`, over the raw bytes, in
 * constant time, against each active secret. Throws WebhookRejected.
 */
export function authenticate(notice: RawNotice, secrets: readonly string[]): void {
  const { time, signatures } = readHeader(notice.headers['sandbox-signature']);
  const ageS = Math.floor(Date.now() / 1000) - Number(time);
  if (Math.abs(ageS) > ageMaxS) throw new WebhookRejected('the signature is too old or from the future');
  const isSigned = secrets.map((secret) => {
    const expected = createHmac('sha256', secret).update(`${time}.`).update(notice.raw).digest();
    return signatures.map((signature) => timingSafeEqual(signature, expected)).includes(true);
  });
  if (!isSigned.includes(true)) throw new WebhookRejected('no signature fits');
}

function readHeader(header: string | undefined): { time: string; signatures: Buffer[] } {
  if (header === undefined || header === '') throw new WebhookRejected('no signature');
  if (header.length > headerLengthMax) throw new WebhookRejected('the signature header is too long');
  const parts = header.split(',').map((part) => /^(t|v1)=([0-9a-f]+)$/.exec(part));
  if (parts.includes(null)) throw new WebhookRejected('the signature header is malformed');
  const valuesOf = (name: string) => parts.flatMap((part) => (part?.[1] === name ? [part[2]!] : []));
  const [times, signatures] = [valuesOf('t'), valuesOf('v1')];
  if (times.length !== 1 || !/^[0-9]{1,12}$/.test(times[0]!)) throw new WebhookRejected('not exactly one time');
  if (signatures.length === 0 || signatures.length > signaturesMax)
    throw new WebhookRejected('no or too many signatures');
  if (signatures.some((signature) => signature.length !== 64))
    throw new WebhookRejected('a signature has a wrong length');
  return { time: times[0]!, signatures: signatures.map((signature) => Buffer.from(signature, 'hex')) };
}

/**
 * Reads an authenticated notice: which payment or dispute to look up, nothing else is used. A type that is not known is about no
 * payment. Throws WebhookRejected.
 */
export function readNotice(raw: Uint8Array): ProviderEvent {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(raw);
    const notice = JSON.parse(text) as { id: unknown; type: unknown; data: Record<'payment' | 'dispute', Body> };
    const [eventId, type] = [name(notice.id), name(notice.type)];
    if (disputeTypes.has(type)) {
      return { eventId, type, payment: undefined, providerDisputeId: name(notice.data.dispute['id']) };
    }
    if (!paymentTypes.has(type)) return { eventId, type, payment: undefined };
    const { id, reference } = notice.data.payment;
    return { eventId, type, payment: { providerPaymentId: name(id), reference: name(reference) } };
  } catch (cause) {
    throw new WebhookRejected('the body is not a notice', { cause });
  }
}

function name(value: unknown): string {
  if (typeof value !== 'string' || !nameForm.test(value)) throw new Error('not a name');
  return value;
}
