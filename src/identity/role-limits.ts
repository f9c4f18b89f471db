import type { Actor } from './actor.ts';
import { BillingError } from '../lib/billing-error.ts';

/** What support staff may do without an admin. */
export const supportLimits = { daysMax: 31, refundAgeMaxDays: 60 } as const;

/** Throws ROLE_LIMIT_EXCEEDED when the operator's role does not reach to so many days at once. */
export function requireMayGive(actor: Actor, days: number): void {
  if (isSupport(actor) && days > supportLimits.daysMax) {
    throw exceeded(`support gives at most ${supportLimits.daysMax} days at once; an admin may give more`);
  }
}

/** Throws ROLE_LIMIT_EXCEEDED when the payment is too old for the operator's role. */
export function requireMayRefund(actor: Actor, paidAt: Temporal.Instant, now: Temporal.Instant): void {
  const oldest = now.subtract({ hours: supportLimits.refundAgeMaxDays * 24 });
  if (isSupport(actor) && Temporal.Instant.compare(paidAt, oldest) < 0) {
    throw exceeded(`support refunds payments of the last ${supportLimits.refundAgeMaxDays} days; an admin older ones`);
  }
}

function isSupport(actor: Actor): boolean {
  return actor.kind === 'operator' && actor.role === 'support';
}

function exceeded(text: string): BillingError {
  return new BillingError('forbidden', 'ROLE_LIMIT_EXCEEDED', text);
}
