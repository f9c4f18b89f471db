import { pino } from 'pino';
import { openDatabase, type MikroORM } from '../db/orm.ts';
import { entities } from '../entities.ts';
import type { PaymentProvider } from '../payments/provider.ts';
import { createSandboxProvider } from '../payments/providers/sandbox/sandbox-provider.ts';
import { createYookassaProvider } from '../payments/providers/yookassa/yookassa-provider.ts';
import type { SubscribeContext } from '../subscriptions/subscribe.ts';
import type { World } from './world.ts';

/** The use cases on a world's database and payment system, called directly: for tests that hold two steps apart. */
export interface Domain {
  readonly orm: MikroORM;
  readonly ctx: SubscribeContext;
  stop(): Promise<void>;
}

/** Opens the domain of a world; its service may be stopped meanwhile. */
export async function openDomain(world: World): Promise<Domain> {
  const orm = await openDatabase({ url: world.databaseUrl, entities });
  const provider = await providerOf(world);
  const ctx: SubscribeContext = {
    em: orm.em,
    actor: { kind: 'system', id: 'test' },
    log: pino({ level: 'silent' }),
    traceparent: '',
    wake: () => undefined,
    providers: new Map([[provider.name, provider]]),
    providerOfCurrency: new Map(),
    leaseMarginHours: 72,
    billingTimeZone: 'UTC',
    secret: 'a secret of the tests',
  };
  return { orm, ctx, stop: () => orm.close(true) };
}

/** The same as the service of the world has. */
async function providerOf({ providerName, provider }: World): Promise<PaymentProvider> {
  const { url, apiKey, webhookSecret } = provider;
  const [webhookSecrets, returnUrl] = [[webhookSecret], 'https://cinema.example/account'];
  switch (providerName) {
    case 'sandbox':
      return createSandboxProvider({ baseUrl: url, apiKey, webhookSecrets });
    case 'stripe': {
      const { createStripeProvider } = await import('../payments/providers/stripe/stripe-provider.ts');
      return createStripeProvider({ baseUrl: url, apiKey, webhookSecrets, returnUrl, account: 'acct_double' });
    }
    case 'yookassa':
      return createYookassaProvider({
        baseUrl: `${url}/v3`,
        shopId: '100500',
        secretKey: apiKey,
        returnUrl,
        noticeAddresses: ['127.0.0.1'],
      });
  }
}
