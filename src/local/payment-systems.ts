import { join } from 'node:path';
import type { LocalConfig } from '../config/local-config.ts';

/** What `npm start` can charge through: its own payment system, or the double of a real one. */
export type LocalProvider = LocalConfig['paymentProvider'];

interface Keys {
  readonly apiKey: string;
  readonly webhookSecret: string;
}

/** How one payment system is started here, and what the service has to know of it. */
export interface LocalPaymentSystem {
  /** The path of its program. */
  readonly entry: string;
  /** Its API's key in the form that the payment system gives keys. */
  apiKey(secret: string): string;
  programEnv(options: Keys & { port: number; dataDir: string; webhookUrl: string }): Record<string, string>;
  serviceEnv(options: Keys & { url: string; returnUrl: string }): Record<string, string>;
}

export const localPaymentSystems: Readonly<Record<LocalProvider, LocalPaymentSystem>> = {
  sandbox: {
    entry: join(import.meta.dirname, 'payment-system/main.ts'),
    apiKey: (secret) => secret,
    programEnv: ({ port, dataDir, webhookUrl, apiKey, webhookSecret }) => ({
      PAYMENT_SYSTEM_PORT: String(port),
      PAYMENT_SYSTEM_DATA_DIR: dataDir,
      PAYMENT_SYSTEM_API_KEY: apiKey,
      PAYMENT_SYSTEM_WEBHOOK_URL: webhookUrl,
      PAYMENT_SYSTEM_WEBHOOK_SECRET: webhookSecret,
    }),
    serviceEnv: ({ url, apiKey, webhookSecret }) => ({
      PAYMENT_PROVIDER: 'sandbox',
      SANDBOX_PAYMENT_URL: url,
      SANDBOX_PAYMENT_API_KEY: apiKey,
      SANDBOX_PAYMENT_WEBHOOK_SECRET: webhookSecret,
    }),
  },
  stripe: {
    entry: join(import.meta.dirname, 'stripe-double/main.ts'),
    apiKey: (secret) => `sk_test_${secret.replaceAll(/\W/g, '')}`,
    programEnv: doubleEnv,
    serviceEnv: ({ url, returnUrl, apiKey, webhookSecret }) => ({
      PAYMENT_PROVIDER: 'stripe',
      STRIPE_API_URL: url,
      STRIPE_API_KEY: apiKey,
      STRIPE_ACCOUNT: 'acct_double',
      STRIPE_WEBHOOK_SECRET: webhookSecret,
      STRIPE_RETURN_URL: returnUrl,
      BILLING_SANDBOX_ACTIVITY_URL: `${url}/double/activity`,
    }),
  },
  yookassa: {
    entry: join(import.meta.dirname, 'yookassa-double/main.ts'),
    apiKey: (secret) => secret,
    programEnv: doubleEnv,
    serviceEnv: ({ url, returnUrl, apiKey }) => ({
      PAYMENT_PROVIDER: 'yookassa',
      YOOKASSA_API_URL: `${url}/v3`,
      YOOKASSA_SHOP_ID: '100500',
      YOOKASSA_SECRET_KEY: apiKey,
      YOOKASSA_RETURN_URL: returnUrl,
      YOOKASSA_NOTICE_ADDRESSES: '127.0.0.1',
      BILLING_SANDBOX_ACTIVITY_URL: `${url}/double/activity`,
    }),
  },
};

function doubleEnv(options: Keys & { port: number; dataDir: string; webhookUrl: string }): Record<string, string> {
  return {
    DOUBLE_PORT: String(options.port),
    DOUBLE_DATA_DIR: options.dataDir,
    DOUBLE_NOTICE_URL: options.webhookUrl,
    DOUBLE_KEY: options.apiKey,
    DOUBLE_NOTICE_SECRET: options.webhookSecret,
  };
}
