import { BlockList, isIP } from 'node:net';
import { WebhookRejected, type ProviderEvent, type RawNotice } from '../../provider.ts';
import { bindingPrefix } from './yookassa-payment.ts';

const nameForm = /^[\x21-\x7e]{1,128}$/;
const aboutBinding = 'payment_method.active';
const aboutPayments: ReadonlySet<string> = new Set(['payment.succeeded', 'payment.canceled']);

/**
 * Checks the address that a notification comes from against the given ones, `185.71.76.0/27` or single; the word `any`
 * among them takes every one. Throws at once when one is no address.
 */
export function createSenderCheck(addresses: readonly string[]): (notice: RawNotice) => void {
  if (addresses.includes('any')) return () => undefined;
  const known = new BlockList();
  for (const text of addresses) {
    const [address = '', prefix] = text.split('/');
    const family = familyOf(address);
    if (family === undefined) throw new Error(`${text} is not an address`);
    if (prefix === undefined) known.addAddress(address, family);
    else known.addSubnet(address, Number(prefix), family);
  }
  return ({ remoteAddress }) => {
    const address = remoteAddress.replace(/^::ffff:(?=[0-9.]+$)/i, '');
    const family = familyOf(address);
    if (family === undefined || !known.check(address, family)) throw new WebhookRejected('from another address');
  };
}

function familyOf(address: string): 'ipv4' | 'ipv6' | undefined {
  return ({ 4: 'ipv4', 6: 'ipv6' } as const)[isIP(address)];
}

/**
 * Reads a notification: which payment to look up, nothing else is used, for it is not signed. It has no id of its own;
 * a payment comes into a state once, so the event and the payment are one. Throws WebhookRejected.
 */
export function readNotice(raw: Uint8Array): ProviderEvent {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(raw);
    const notice = JSON.parse(text) as { type: unknown; event: unknown; object: Record<string, unknown> };
    if (notice.type !== 'notification') throw new Error('not a notification');
    const [type, id] = [name(notice.event), name(notice.object['id'])];
    const reference = (notice.object['metadata'] as Record<string, unknown> | undefined)?.['reference'];
    // A method that was saved without a payment has no reference: its id is the payment's with us.
    if (type === aboutBinding) {
      return { eventId: `${type}:${id}`, type, payment: { providerPaymentId: `${bindingPrefix}${id}`, reference: '' } };
    }
    const isOurs = aboutPayments.has(type) && typeof reference === 'string' && nameForm.test(reference);
    return { eventId: `${type}:${id}`, type, payment: isOurs ? { providerPaymentId: id, reference } : undefined };
  } catch (cause) {
    throw new WebhookRejected('the body is not a notification', { cause });
  }
}

function name(value: unknown): string {
  if (typeof value !== 'string' || !nameForm.test(value)) throw new Error('not a name');
  return value;
}
