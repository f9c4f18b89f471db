import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { spawn } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { BookLine } from '../local/double/server.ts';
import { goodCardNumber } from '../local/payment-system/cards.ts';
import { localPaymentSystems, type LocalProvider } from '../local/payment-systems.ts';
import type { CustomerScript } from './payment-system.ts';

const startTimeoutMs = 20_000;

export type ProviderLine = Omit<BookLine, 'status'> & { readonly status: string };

/** What every payment system of a world can do for a test, the sandbox and the doubles alike. */
export interface TestProvider {
  readonly url: string;
  readonly apiKey: string;
  readonly webhookSecret: string;
  /** Every payment, in creation order, as its own books have it: the oracle. */
  payments(): Promise<ProviderLine[]>;
  /** Posts the page's form as a browser does. The good test card when none is given. */
  pay(pageUrl: string, card?: string): Promise<Response>;
  /** Replaces what is still to be played for a customer (Auth's user id). */
  script(customerReference: string, script: Pick<Partial<CustomerScript>, 'charges' | 'refunds'>): Promise<void>;
  stop(): Promise<unknown>;
}

/** Starts the double of a real payment system as a process of its own; it ends with this process. */
export async function startDoubleProcess(
  name: Exclude<LocalProvider, 'sandbox'>,
  { webhookUrl }: { webhookUrl: string },
): Promise<TestProvider> {
  const system = localPaymentSystems[name];
  const [apiKey, webhookSecret] = [system.apiKey('of the tests'), 'a webhook secret of the tests'];
  const dataDir = mkdtempSync(join(tmpdir(), 'double-'));
  const child = spawn(process.execPath, [system.entry], {
    env: { ...process.env, ...system.programEnv({ port: 0, dataDir, webhookUrl, apiKey, webhookSecret }) },
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  });
  const exited = once(child, 'exit');
  const tooLate = setTimeout(() => child.kill('SIGKILL'), startTimeoutMs);
  const firstLine = once(createInterface(child.stdout!), 'line') as Promise<[string]>;
  const started = await Promise.race([firstLine, exited.then(() => undefined)]);
  clearTimeout(tooLate);
  if (!started) throw new Error(`the double of ${name} ended at its start`);
  const { listening: url } = JSON.parse(started[0]) as { listening: string };

  const call = async <T>(path: string, method: string, body?: object): Promise<T> => {
    const headers = { authorization: `Bearer ${apiKey}` };
    const response = await fetch(`${url}${path}`, { method, headers, ...(body && { body: JSON.stringify(body) }) });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as T;
  };
  return {
    url,
    apiKey,
    webhookSecret,
    payments: async () => (await call<{ payments: BookLine[] }>('/double/payments', 'GET')).payments,
    pay: (pageUrl, card = goodCardNumber) =>
      fetch(pageUrl, { method: 'POST', body: new URLSearchParams({ card, action: 'pay' }) }),
    script: (customer, script) => call(`/double/scripts/${encodeURIComponent(customer)}`, 'PUT', script),
    stop: async () => {
      child.kill('SIGTERM');
      await exited;
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}
