import { OutcomeUnknown, RequestRefused, type PaymentProvider } from '../../provider.ts';
import { createSandboxHttp } from './sandbox-http.ts';
import { readPayment } from './sandbox-payment.ts';
import { authenticate, readNotice } from './sandbox-webhook.ts';

export interface SandboxProviderOptions {
  readonly baseUrl: string;
  readonly apiKey: string;
  /** One, or two while the secret is being changed. */
  readonly webhookSecrets: readonly string[];
  readonly callDeadlineMs?: number;
}

/** The sandbox payment system, and its clock, which goes with the service's in the sandbox. */
export interface SandboxProvider extends PaymentProvider {
  setClock(now: Temporal.Instant, running: boolean): Promise<void>;
  /** What it has left to do at its present time, and when it has something to do next. */
  activity(): Promise<{ nextAt: Temporal.Instant | undefined; undeliveredWebhooks: number; callsInFlight: number }>;
}

const hourMs = 3_600_000;
const callDeadlineDefaultMs = 15_000;
const concurrencyMax = 16;
/** Look-ups and the clock are not held up by charges that wait for an answer. */
const connectionsMax = concurrencyMax * 4;

/** Builds the provider; it connects with the first call. */
export function createSandboxProvider(options: SandboxProviderOptions): SandboxProvider {
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
      checkoutTtlMs: 23 * hourMs,
      maxConcurrency: concurrencyMax,
      callDeadlineMs,
    },
    async startCheckout({ idempotencyKey, reference, amount, customerReference, description, returnUrl }) {
      const body = {
        amount_minor: amount.amountMinor.toString(),
        currency: amount.currencyCode,
        reference,
        customer_reference: customerReference,
        description,
        return_url: returnUrl,
      };
      const { id, pageUrl, expiresAt } = readPayment(await post('/v1/checkouts', body, idempotencyKey));
      if (pageUrl === undefined || expiresAt === undefined) throw new OutcomeUnknown('the checkout has no page');
      return { providerPaymentId: id, url: pageUrl, expiresAt };
    },
    async expireCheckout(providerPaymentId) {
      return readPayment(await post(`/v1/checkouts/${encodeURIComponent(providerPaymentId)}/expire`, {})).outcome;
    },
    async charge({ idempotencyKey, reference, amount, providerCustomerId, providerMethodId, description }) {
      const body = {
        amount_minor: amount.amountMinor.toString(),
        currency: amount.currencyCode,
        reference,
        customer: providerCustomerId,
        payment_method: providerMethodId,
        description,
      };
      return readPayment(await post('/v1/charges', body, idempotencyKey)).outcome;
    },
    async lookUp({ providerPaymentId, reference }) {
      if (providerPaymentId !== undefined) {
        const found = await http.call('GET', `/v1/payments/${encodeURIComponent(providerPaymentId)}`);
        return found === undefined ? undefined : readPayment(found).outcome;
      }
      const answer = (await http.call('GET', `/v1/payments?reference=${encodeURIComponent(reference)}`)) as
        | { data?: unknown[] }
        | undefined;
      if (!Array.isArray(answer?.data)) throw new OutcomeUnknown('the payment system answered without a list');
      const [found] = answer.data;
      return found === undefined ? undefined : readPayment(found).outcome;
    },
    authenticateWebhook(notice) {
      authenticate(notice, options.webhookSecrets);
      return 'signed';
    },
    readWebhook: readNotice,
    async setClock(now, running) {
      await post('/v1/test_clock', { now: now.toString(), running });
    },
    async activity() {
      const answer = (await http.call('GET', '/v1/test_clock')) as Record<string, unknown> | undefined;
      const nextAt = answer?.['next_at'];
      return {
        nextAt: typeof nextAt === 'string' ? Temporal.Instant.from(nextAt) : undefined,
        undeliveredWebhooks: Number(answer?.['undelivered_webhooks']),
        callsInFlight: Number(answer?.['calls_in_flight']),
      };
    },
  };
}
