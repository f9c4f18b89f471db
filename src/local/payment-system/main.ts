import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { openBooks } from './books.ts';
import { createPaymentServer, createRequestListener } from './server.ts';
import { doWhatIsDue, type System } from './system.ts';
import { createWebhooks } from './webhooks.ts';

const tickMs = 100;

const log = (line: string): void => void process.stderr.write(`payment-system: ${line}\n`);

interface Settings {
  readonly port: number;
  readonly dataDir: string;
  readonly apiKey: string;
  readonly webhookUrl: string;
  readonly webhookSecret: string;
}

/** The only reader of the environment. Throws an Error of one line. */
function readSettings(env: Readonly<Record<string, string | undefined>>): Settings {
  const required = (name: string): string => {
    const value = env[name];
    if (!value) throw new Error(`${name} is not set`);
    return value;
  };
  const port = Number(env['PAYMENT_SYSTEM_PORT'] || 0);
  if (!Number.isInteger(port) || port < 0 || port > 65_535) throw new Error('PAYMENT_SYSTEM_PORT is not a port');
  const webhookUrl = required('PAYMENT_SYSTEM_WEBHOOK_URL');
  if (!URL.canParse(webhookUrl)) throw new Error('PAYMENT_SYSTEM_WEBHOOK_URL is not an address');
  return {
    port,
    dataDir: required('PAYMENT_SYSTEM_DATA_DIR'),
    apiKey: required('PAYMENT_SYSTEM_API_KEY'),
    webhookUrl,
    webhookSecret: required('PAYMENT_SYSTEM_WEBHOOK_SECRET'),
  };
}

async function main(): Promise<void> {
  const settings = readSettings(process.env);
  const books = await openBooks(settings.dataDir, (error) => {
    // What is in memory may not be on disk any more: only a new start from the ledger tells the truth.
    log(`the ledger cannot be written: ${String(error)}`);
    process.exit(1);
  });
  const webhooks = createWebhooks(books, { url: settings.webhookUrl, secret: settings.webhookSecret, log });
  const server = createPaymentServer();
  server.listen(settings.port, '127.0.0.1');
  await once(server, 'listening');
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const system: System = { books, webhooks, apiKey: settings.apiKey, baseUrl, due: { held: false } };
  server.on('request', createRequestListener(system, log));
  const tick = setInterval(() => void doWhatIsDue(system).catch((error: unknown) => log(String(error))), tickMs);

  let isStopping = false;
  const stop = async (): Promise<void> => {
    if (isStopping) return;
    isStopping = true;
    clearInterval(tick);
    server.close();
    await books.settled();
    server.closeAllConnections();
    await webhooks.stop();
    await books.close();
    if (process.connected) process.disconnect?.();
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  // Started by another Node process: when that one is gone, however it ended, this one ends too.
  process.on('disconnect', stop);

  process.stdout.write(`${JSON.stringify({ listening: baseUrl })}\n`);
}

main().catch((error: unknown) => {
  log(error instanceof Error ? error.message : String(error));
  process.exit(1);
});
