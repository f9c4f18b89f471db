import {
  OutcomeUnknown,
  RequestRefused,
  type ChargeRequest,
  type CheckoutRequest,
  type ListQuery,
  type MethodOfCustomer,
  type PaymentProvider,
} from '../../provider.ts';
import { readActivity, type SandboxActivity } from './sandbox-activity.ts';
import {
  deliveriesPath,
  readDeliveries,
  type SandboxDelivery,
  type SandboxDeliveryQuery,
} from './sandbox-deliveries.ts';
import { readDispute, readDisputePage } from './sandbox-dispute.ts';
import { createSandboxHttp, type SandboxHttp } from './sandbox-http.ts';
import { readPage, readPayment, readPaymentOf } from './sandbox-payment.ts';
import { refundCalls } from './sandbox-refund.ts';
import { authenticate, readNotice } from './sandbox-webhook.ts';

export interface SandboxProviderOptions {
  /** `http://host:port`. */
  readonly baseUrl: string;
  readonly apiKey: string;
  /** One, or two while the secret is being changed. */
  readonly webhookSecrets: readonly string[];
  readonly callDeadlineMs?: number;
}

/** The sandbox payment system, and its clock, which goes with the service's in the sandbox. */
export interface SandboxProvider extends PaymentProvider {
  /** Does all that became due by then, or with `timeOnly` leaves it for the next call. */
  setClock(now: Temporal.Instant, running: boolean, options?: { timeOnly: boolean }): Promise<void>;
  activity(): Promise<SandboxActivity>;
  /** Replaces what is still to be played for a viewer; by the names of the payment system's scripts. */
  script(userId: string, script: SandboxScript): Promise<void>;
  /** What became of its notices, newest first. Throws NotExecuted, OutcomeUnknown. */
  deliveries(query: SandboxDeliveryQuery): Promise<SandboxDelivery[]>;
}

/** Charges to come, in order, and what is done to every notice about the viewer. */
export interface SandboxScript {
  readonly charges: readonly { readonly outcome: string; readonly delayMs: number }[];
  readonly webhooks: string | null;
}

const hourMs = 3_600_000;
const callDeadlineDefaultMs = 15_000;
const concurrencyMax = 16;
/** Look-ups and the clock are not held up by charges that wait for an answer. */
const connectionsMax = concurrencyMax * 4;
const webhookSecretsMax = 2;
/** Far below what an answer may weigh. */
const pageSize = 200;

/** Builds the provider; it connects with the first call. Throws when the options cannot work. */
export function createSandboxProvider(options: SandboxProviderOptions): SandboxProvider {
  const { webhookSecrets } = options;
  // Anybody can sign with an empty secret.
  if (webhookSecrets.length < 1 || webhookSecrets.length > webhookSecretsMax || webhookSecrets.includes('')) {
    throw new Error(`the sandbox provider needs 1 to ${webhookSecretsMax} webhook secrets, none of them empty`);
  }
  const callDeadlineMs = options.callDeadlineMs ?? callDeadlineDefaultMs;
  const http = createSandboxHttp({ ...options, callDeadlineMs, connectionsMax });

  /** A POST that names something which the payment system does not have was refused. */
  async function post(path: string, body: object, idempotencyKey?: string): Promise<unknown> {
    const answer = await http.call('POST', path, { body, ...(idempotencyKey !== undefined && { idempotencyKey }) });
    if (answer === undefined) throw new RequestRefused('the payment system does not have what was asked for');
    return answer;
  }

  return {
    name: 'sandbox',
    merchantAccount: 'sandbox-cinema',
    capabilities: {
      idempotencyWindowMs: 24 * hourMs,
      lookUpByReference: true,
      canCancelPending: true,
      canCloseCheckout: true,
      canDetachMethod: true,
      reportsDisputes: true,
      fiscalizes: undefined,
      takesCurrency: () => true,
      checkoutTtlMs: 23 * hourMs,
      maxConcurrency: concurrencyMax,
      callDeadlineMs,
      minimumAmountMinor: () => 1n,
    },
    async startCheckout(request) {
      const { mode, idempotencyKey, reference, customerReference, returnUrl } = request;
      const { amount_minor, ...rest } = debtOf(request);
      const debt = mode === 'setup' ? rest : { ...rest, amount_minor };
      const body = { ...debt, mode, customer_reference: customerReference, return_url: returnUrl };
      const answer = await post('/v1/checkouts', body, idempotencyKey);
      const { outcome, pageUrl, expiresAt } = readPayment(answer, { reference, kind: 'checkout' });
      if (pageUrl === undefined || expiresAt === undefined) throw new OutcomeUnknown('the checkout has no page');
      return { providerPaymentId: outcome.providerPaymentId, url: pageUrl, expiresAt };
    },
    async expireCheckout(providerPaymentId) {
      const answer = await post(`/v1/checkouts/${encodeURIComponent(providerPaymentId)}/expire`, {});
      const { outcome } = readPayment(answer, { id: providerPaymentId, kind: 'checkout' });
      if (['dead', 'succeeded', 'method saved'].includes(outcome.kind)) return outcome;
      throw new OutcomeUnknown('the page was to be closed and is not');
    },
    async charge(request) {
      const { idempotencyKey, reference, providerCustomerId, providerMethodId } = request;
      const body = { ...debtOf(request), customer: providerCustomerId, payment_method: providerMethodId };
      return readPayment(await post('/v1/charges', body, idempotencyKey), { reference, kind: 'off_session' }).outcome;
    },
    async cancelPending(providerPaymentId) {
      const answer = await post(`/v1/payments/${encodeURIComponent(providerPaymentId)}/cancel`, {});
      return readPayment(answer, { id: providerPaymentId, kind: 'off_session' }).outcome;
    },
    detachMethod: (method) => detachMethod(http, method),
    ...refundCalls(http, post),
    lookUpReceipt: () => Promise.reject(new RequestRefused('the sandbox issues no receipts')),
    async lookUpDispute(id) {
      const found = await http.call('GET', `/v1/disputes/${encodeURIComponent(id)}`);
      return found === undefined ? undefined : readDispute(found, id);
    },
    async lookUp({ providerPaymentId: id, reference = '' }) {
      if (id === undefined) {
        const answer = await http.call('GET', `/v1/payments?reference=${encodeURIComponent(reference)}`);
        return readPaymentOf(answer, reference);
      }
      const found = await http.call('GET', `/v1/payments/${encodeURIComponent(id)}`);
      return found === undefined ? undefined : readPayment(found, { id, ...(reference && { reference }) }).outcome;
    },
    listPayments: async (query) => readPage(await http.call('GET', `/v1/payments?${parametersOf(query)}`)),
    listDisputes: async (query) => readDisputePage(await http.call('GET', `/v1/disputes?${parametersOf(query)}`)),
    authenticateWebhook(notice) {
      authenticate(notice, webhookSecrets);
      return 'signed';
    },
    readWebhook: readNotice,
    async setClock(now, running, { timeOnly } = { timeOnly: false }) {
      await post('/v1/test_clock', { now: now.toString(), running, time_only: timeOnly });
    },
    async activity() {
      return readActivity(await http.call('GET', '/v1/test_clock'));
    },
    async script(userId, { charges, webhooks }) {
      const steps = charges.map(({ outcome, delayMs }) => ({ outcome, delay_ms: delayMs }));
      await http.call('PUT', `/v1/scripts/${encodeURIComponent(userId)}`, { body: { charges: steps, webhooks } });
    },
    async deliveries(query) {
      return readDeliveries(await http.call('GET', deliveriesPath(query)));
    },
  };
}

async function detachMethod(
  http: SandboxHttp,
  { providerCustomerId, providerMethodId }: MethodOfCustomer,
): Promise<void> {
  const path = `/v1/payment_methods/${encodeURIComponent(providerMethodId)}`;
  const method = await http.call('GET', path);
  // What it does not have, or has for another customer, is not ours to forget.
  if ((method as { customer?: unknown } | null | undefined)?.customer !== providerCustomerId) return;
  await http.call('DELETE', path);
}

/** Of a page of a list. */
function parametersOf({ from, to, cursor }: ListQuery): URLSearchParams {
  return new URLSearchParams({
    created_from: from.toString(),
    created_before: to.toString(),
    limit: String(pageSize),
    ...(cursor !== undefined && { after: cursor }),
  });
}

/** What both ways to pay have in common. */
function debtOf({ amount, reference, description }: CheckoutRequest | ChargeRequest): Record<string, string> {
  return { amount_minor: amount.amountMinor.toString(), currency: amount.currencyCode, reference, description };
}
