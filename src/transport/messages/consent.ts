import type { Consent as ConsentMessage } from '@cinema-billing/gen/billing/v1/payment_pb.ts';
import type { Consent } from '../../payments/keep-consent.ts';
import type { Call } from '../call.ts';

/** A consent; the viewer's address is the call's own, unless a service asks for the viewer. */
export function readConsent(call: Call, consent: ConsentMessage | undefined): Consent | undefined {
  if (consent === undefined) return undefined;
  const ofService = call.actor.kind === 'service' ? consent.ipAddress : '';
  return { textVersion: consent.textVersion, ipAddress: ofService || call.remoteAddress };
}
