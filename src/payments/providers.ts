import type { CallContext } from '../identity/call-context.ts';
import { BillingError } from '../lib/billing-error.ts';
import type { MinimumOf } from '../promotions/discounts.ts';
import { RequestRefused, type PaymentProvider } from './provider.ts';

/** The payment systems that are configured, by name, in the order of the configuration. */
export type PaymentProviders = ReadonlyMap<string, PaymentProvider>;

/** What a use case needs that talks to payment systems. */
export interface PaymentsContext extends CallContext {
  readonly providers: PaymentProviders;
  /** Which of them new customers get for a currency; for one that is not named, the first that takes it. */
  readonly providerOfCurrency: ReadonlyMap<string, string>;
}

/** Whose a payment, a refund or a saved method is; what is done with it is done there, and nowhere else. */
export interface ProviderKey {
  readonly provider: string;
  readonly merchantAccount: string;
}

/** The provider of that name. Throws PROVIDER_NOT_FOUND. */
export function providerNamed(ctx: PaymentsContext, name: string): PaymentProvider {
  const provider = ctx.providers.get(name);
  if (!provider) throw new BillingError('not-found', 'PROVIDER_NOT_FOUND', 'no such payment system is configured');
  return provider;
}

/** The provider that a row belongs to; undefined when it, or this merchant account of it, is not configured any more. */
export function findProviderOf(ctx: Pick<PaymentsContext, 'providers'>, key: ProviderKey): PaymentProvider | undefined {
  const provider = ctx.providers.get(key.provider);
  // Another account's ids mean nothing there, or worse: something else.
  return provider?.merchantAccount === key.merchantAccount ? provider : undefined;
}

/** The provider that a row belongs to. Throws RequestRefused when it is not configured: nothing is sent elsewhere. */
export function providerOf(ctx: PaymentsContext, key: ProviderKey): PaymentProvider {
  const provider = findProviderOf(ctx, key);
  if (!provider) throw new RequestRefused(notConfigured(key));
  return provider;
}

/** For the log. */
export function notConfigured({ provider, merchantAccount }: ProviderKey): string {
  return `the payment system ${provider} with the account ${merchantAccount} is not configured`;
}

/** The least that a provider charges in a currency, by its name; 1 where that is not known. Minor units. */
export function minimumAmounts({ providers }: Pick<PaymentsContext, 'providers'>): MinimumOf {
  return (provider, currencyCode) => providers.get(provider ?? '')?.capabilities.minimumAmountMinor(currencyCode) ?? 1n;
}

/** The provider that a new customer gets. Throws CURRENCY_NOT_TAKEN. */
export function providerForCurrency(ctx: PaymentsContext, currencyCode: string): PaymentProvider {
  const named = ctx.providerOfCurrency.get(currencyCode);
  const candidates = named === undefined ? [...ctx.providers.values()] : [providerNamed(ctx, named)];
  const provider = candidates.find(({ capabilities }) => capabilities.takesCurrency(currencyCode));
  if (provider) return provider;
  throw new BillingError('wrong-state', 'CURRENCY_NOT_TAKEN', 'no payment system takes this currency', {
    metadata: { currency_code: currencyCode },
  });
}
