import { readFileSync } from 'node:fs';
import { pino } from 'pino';
import { createApp, type App } from '../app.ts';
import { isServiceConfigured, loadConfig, readConfig, type Config } from '../config/config.ts';
import { findRunningSystem, Refusal } from './running-system.ts';

const requestTimeoutMs = 5_000;

/**
 * The service's parts without its listeners and loops: as the environment configures them, or else those of the running
 * `npm start`. Throws a Refusal when nothing runs there, a ConfigError when the environment is not complete.
 */
export async function openOperatorApp(): Promise<App> {
  const config = isServiceConfigured() ? loadConfig() : await configOfRunningSystem();
  return createApp({ ...config, roles: new Set() }, pino({ level: 'silent' }));
}

async function configOfRunningSystem(): Promise<Config> {
  const system = findRunningSystem();
  const secrets = JSON.parse(readFileSync(system.secretsFile, 'utf8')) as Record<string, string>;
  const answer = await fetch(`${system.authUrl}/public-key.pem`, {
    signal: AbortSignal.timeout(requestTimeoutMs),
  }).catch((cause: unknown) => {
    throw new Refusal('the system does not answer: is "npm start" still running?', { cause });
  });
  return readConfig({
    BILLING_DATABASE_URL: system.databaseUrl,
    BILLING_NATS_URL: system.natsUrl,
    BILLING_AUTH_PUBLIC_KEY: await answer.text(),
    BILLING_AUTH_ISSUER: system.authUrl,
    BILLING_AUTH_AUDIENCE: 'none',
    BILLING_SECRET: secrets['billingSecret'],
    PAYMENT_PROVIDER: 'sandbox',
    SANDBOX_PAYMENT_URL: system.paymentSystemUrl,
    SANDBOX_PAYMENT_API_KEY: secrets['paymentApiKey'],
    SANDBOX_PAYMENT_WEBHOOK_SECRET: secrets['paymentWebhookSecret'],
  });
}
