import type { CallContext } from '../identity/call-context.ts';
import { BillingError } from '../lib/billing-error.ts';
import type { PaymentProvider } from './provider.ts';

/** The payment systems that are configured, by name. */
export type PaymentProviders = ReadonlyMap<string, PaymentProvider>;

/** What a use case needs that talks to payment systems. */
export interface PaymentsContext extends CallContext {
  readonly providers: PaymentProviders;
  /** The one that new customers get. */
  readonly defaultProvider: string;
}

/** The provider of that name. Throws PROVIDER_NOT_FOUND. */
export function providerNamed(ctx: PaymentsContext, name: string): PaymentProvider {
  const provider = ctx.providers.get(name);
  if (!provider) throw new BillingError('not-found', 'PROVIDER_NOT_FOUND', 'no such payment system is configured');
  return provider;
}
