import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { goodCardNumber } from '../local/payment-system/cards.ts';
import type { ClockView } from '../local/payment-system/clock-api.ts';
import type { PaymentObject, ScriptStep, WebhookFault } from '../local/payment-system/ledger-line.ts';

export type { ClockView, PaymentObject };

const program = join(import.meta.dirname, '../local/payment-system/main.ts');
const startTimeoutMs = 20_000;
const pageSize = 500;
const pagesMax = 1_000;

export interface PaymentSystemOptions {
  webhookUrl: string;
  webhookSecret?: string;
  apiKey?: string;
  /** A folder of the caller's, which stays; a temporary one otherwise, which `stop` removes. */
  dataDir?: string;
  /** Any free one when left out. */
  port?: number;
}

export interface ScriptedStep {
  outcome: ScriptStep['outcome'];
  times?: number;
  delay_ms?: number;
}

/** One for each charge and refund to come, and what is done to every webhook. */
export interface CustomerScript {
  charges: ScriptedStep[];
  refunds: ScriptedStep[];
  webhooks: WebhookFault | null;
}

export interface TestPaymentSystem {
  readonly url: string;
  readonly apiKey: string;
  readonly webhookSecret: string;
  readonly dataDir: string;
  /** What it wrote to stderr so far, one entry a line. */
  readonly log: readonly string[];
  /** Every payment, in creation order, as the system's own ledger has it: the oracle. */
  payments(): Promise<PaymentObject[]>;
  /** Posts the page's form as a browser does, and follows no redirect. The good test card when none is given. */
  pay(pageUrl: string, card?: string): Promise<Response>;
  decline(pageUrl: string): Promise<Response>;
  /** What a customer does at the page of a charge that needs it; refused otherwise. */
  confirm(actionUrl: string, action?: 'confirm' | 'refuse'): Promise<Response>;
  /** Replaces what is still to be played for a customer (Auth's user id); without more, its cards decide again. */
  script(customerReference: string, script: Partial<CustomerScript>): Promise<void>;
  /** A cardholder disputes a payment, and the bank takes its money back; gives the dispute's id. */
  dispute(paymentId: string): Promise<string>;
  /** The bank decides. */
  closeDispute(disputeId: string, outcome: 'won' | 'lost'): Promise<void>;
  /** Seeded random faults of charges and webhooks, for everybody, until null ends them. */
  randomFaults(seed: number | null): Promise<void>;
  /** Sets its business clock; an earlier `now` leaves the time as it is. All that became due is under way then. */
  setClock(now: Temporal.Instant | string, running: boolean, options?: { timeOnly: boolean }): Promise<ClockView>;
  clock(): Promise<ClockView>;
  /** SIGKILL; its data stays for another start with the same `dataDir`. */
  kill(): Promise<void>;
  /** Ends it as SIGTERM does and removes a temporary folder. Answers the exit code. */
  stop(): Promise<number | null>;
}

/** Starts the sandbox payment system as a process of its own; it ends with this process. */
export async function startPaymentSystem(options: PaymentSystemOptions): Promise<TestPaymentSystem> {
  const { apiKey = 'sandbox-test-key', webhookSecret = 'sandbox-test-webhook-secret' } = options;
  const dataDir = options.dataDir ?? mkdtempSync(join(tmpdir(), 'payment-system-'));
  const child = spawn(process.execPath, [program], {
    env: {
      ...process.env,
      PAYMENT_SYSTEM_PORT: String(options.port ?? 0),
      PAYMENT_SYSTEM_DATA_DIR: dataDir,
      PAYMENT_SYSTEM_API_KEY: apiKey,
      PAYMENT_SYSTEM_WEBHOOK_URL: options.webhookUrl,
      PAYMENT_SYSTEM_WEBHOOK_SECRET: webhookSecret,
    },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  const exited = once(child, 'exit') as Promise<[number | null]>;
  const log: string[] = [];
  createInterface(child.stderr!).on('line', (line) => log.push(line));

  const tooLate = setTimeout(() => child.kill('SIGKILL'), startTimeoutMs);
  const firstLine = once(createInterface(child.stdout!), 'line') as Promise<[string]>;
  const started = await Promise.race([firstLine, exited.then(() => undefined)]);
  clearTimeout(tooLate);
  if (!started) throw new Error(`the payment system ended at its start: ${log.join('; ')}`);
  const { listening: url } = JSON.parse(started[0]) as { listening: string };

  return {
    url,
    apiKey,
    webhookSecret,
    dataDir,
    log,
    ...callsOf(url, apiKey),
    kill: async () => {
      child.kill('SIGKILL');
      await exited;
    },
    stop: async () => {
      child.kill('SIGTERM');
      const [code] = await exited;
      if (options.dataDir === undefined) rmSync(dataDir, { recursive: true, force: true });
      return code;
    },
  };
}

type Calls = Omit<TestPaymentSystem, 'url' | 'apiKey' | 'webhookSecret' | 'dataDir' | 'log' | 'kill' | 'stop'>;

function callsOf(url: string, apiKey: string): Calls {
  const call = async <T>(path: string, body?: object, method = body ? 'POST' : 'GET'): Promise<T> => {
    const headers = { authorization: `Bearer ${apiKey}` };
    const response = await fetch(`${url}${path}`, { method, headers, ...(body && { body: JSON.stringify(body) }) });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as T;
  };
  const post = (pageUrl: string, card: string, action: 'pay' | 'decline'): Promise<Response> =>
    fetch(pageUrl, { method: 'POST', body: new URLSearchParams({ card, action }), redirect: 'manual' });

  return {
    payments: async () => {
      const payments: PaymentObject[] = [];
      for (let page = 0; page < pagesMax; page++) {
        const after = payments.at(-1)?.id ?? '';
        type Page = { data: PaymentObject[]; has_more: boolean };
        const { data, has_more } = await call<Page>(`/v1/payments?after=${after}&limit=${pageSize}`);
        payments.push(...data);
        if (!has_more) return payments;
      }
      throw new Error(`more than ${pagesMax} pages of payments`);
    },
    pay: (pageUrl, card = goodCardNumber) => post(pageUrl, card, 'pay'),
    decline: (pageUrl) => post(pageUrl, goodCardNumber, 'decline'),
    confirm: (actionUrl, action = 'confirm') =>
      fetch(actionUrl, { method: 'POST', body: new URLSearchParams({ action }) }),
    script: (customerReference, script) => call(`/v1/scripts/${encodeURIComponent(customerReference)}`, script, 'PUT'),
    dispute: async (payment) => (await call<{ id: string }>('/v1/disputes', { payment })).id,
    closeDispute: (disputeId, outcome) => call(`/v1/disputes/${disputeId}/close`, { outcome }),
    randomFaults: (seed) => call('/v1/faults', { seed }, 'PUT'),
    setClock: (now, running, { timeOnly } = { timeOnly: false }) =>
      call('/v1/test_clock', { now: now.toString(), running, time_only: timeOnly }),
    clock: () => call('/v1/test_clock'),
  };
}
