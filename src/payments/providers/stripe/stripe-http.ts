import { Stripe } from 'stripe';
import { NotExecuted, OutcomeUnknown, RequestRefused } from '../../provider.ts';

/** Pinned: an answer of another version may have other fields. It is the version that the package was generated for. */
const apiVersion = '2026-10-28.endive';
const answerBytesMax = 2 * 1024 * 1024;
/** On an answer whose call was sent twice: what the second call met proves nothing about the first. */
const repeatedHeader = 'x-sent-twice';
const lostConnectionCodes: ReadonlySet<unknown> = new Set(['ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET']);
const refusedStatuses: ReadonlySet<unknown> = new Set([400, 401, 403, 404]);

/**
 * Stripe's own client, with a deadline over the whole call and our retries in place of its own: it repeats a lost
 * connection even when told not to, and does not say so.
 */
export function createStripeClient(options: { apiKey: string; baseUrl: string; callDeadlineMs: number }): Stripe {
  const { protocol, hostname, port } = new URL(options.baseUrl);
  return new Stripe(options.apiKey, {
    apiVersion,
    protocol: protocol === 'http:' ? 'http' : 'https',
    host: hostname,
    port: port || (protocol === 'http:' ? 80 : 443),
    timeout: options.callDeadlineMs,
    maxNetworkRetries: 0,
    telemetry: false,
    httpClient: Stripe.createFetchHttpClient(fetchOnceMore),
  });
}

/** Sends; a connection that was lost before an answer is tried once more: every call is idempotent or carries a key. */
async function fetchOnceMore(url: string | URL | Request, init?: RequestInit): Promise<Response> {
  try {
    return await fetchWhole(url, init, {});
  } catch (error) {
    if (init?.signal?.aborted || !lostConnectionCodes.has(codeOf(error))) throw error;
  }
  try {
    return await fetchWhole(url, init, { [repeatedHeader]: '1' });
  } catch (cause) {
    throw new Error('the connection was lost, and the repeat had no answer', { cause });
  }
}

/** Reads the whole answer; what is not in Stripe's form is no answer. */
async function fetchWhole(
  url: string | URL | Request,
  init: RequestInit | undefined,
  more: Record<string, string>,
): Promise<Response> {
  const response = await fetch(url, { ...init, redirect: 'manual' });
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += (chunk as Uint8Array).length;
    if (bytes > answerBytesMax) throw new Error('the answer is too large');
    chunks.push(chunk as Uint8Array);
  }
  const text = new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks));
  const body = JSON.parse(text) as { error?: { type?: unknown } } | null;
  const isError = typeof body?.error?.type === 'string';
  // The client takes any body without an error for success, whatever the status is.
  if (typeof body !== 'object' || body === null || (response.status === 200) === isError) {
    throw new Error(`answered ${response.status} in another form than Stripe's`);
  }
  const headers = { ...Object.fromEntries(response.headers), ...more };
  return new Response(text, { status: response.status, headers });
}

/** Makes the call and throws only what a provider may throw; besides, a decline stays the client's StripeCardError. */
export async function callStripe<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw classified(error);
  }
}

/** As `callStripe`, for reading: undefined when Stripe itself says that it has no such thing. */
export async function findInStripe<T>(call: () => Promise<T>): Promise<T | undefined> {
  try {
    return await call();
  } catch (error) {
    if (!(error instanceof Stripe.errors.StripeError) || error.statusCode !== 404) throw classified(error);
    if (error.code === 'resource_missing') return undefined;
    throw new OutcomeUnknown('Stripe answered 404 for another reason than a missing object', { cause: error });
  }
}

function classified(cause: unknown): unknown {
  if (!(cause instanceof Stripe.errors.StripeError)) return new OutcomeUnknown('the call failed', { cause });
  const { statusCode, code = '', rawType = '' } = cause;
  if (statusCode === undefined) {
    // A refused connection is the one failure that proves that no byte was sent.
    if (codeOf(cause.detail) === 'ECONNREFUSED') return new NotExecuted('Stripe cannot be reached', { cause });
    return new OutcomeUnknown(`no answer from Stripe: ${textOf(cause.detail)}`, { cause });
  }
  if (isCardError(cause)) return cause;
  const told = `${statusCode} ${rawType} ${code}${cause.param ? ` (${cause.param})` : ''}`.trim();
  if (cause.headers?.[repeatedHeader] !== undefined) {
    return new OutcomeUnknown(`the connection was lost, and the repeat was answered ${told}`, { cause });
  }
  if (statusCode === 429 || (statusCode === 409 && code === 'idempotency_key_in_use')) {
    const retryAfterMs = retryAfterOf(cause.headers?.['retry-after']);
    return new NotExecuted(`Stripe is busy: ${told}`, { cause, ...(retryAfterMs !== undefined && { retryAfterMs }) });
  }
  if (refusedStatuses.has(statusCode)) return new RequestRefused(`Stripe refused the request: ${told}`, { cause });
  return new OutcomeUnknown(`Stripe answered ${told}`, { cause });
}

/** Whether Stripe declined a charge. */
export function isCardError(error: unknown): boolean {
  return error instanceof Stripe.errors.StripeError && error.statusCode === 402 && error.rawType === 'card_error';
}

function codeOf(error: unknown): unknown {
  const { code, cause } = (error ?? {}) as { code?: unknown; cause?: { code?: unknown } };
  return cause?.code ?? code;
}

function textOf(error: unknown): string {
  return String(codeOf(error) ?? (error instanceof Error ? error.message : 'connection'));
}

function retryAfterOf(header: string | undefined): number | undefined {
  return header !== undefined && /^[0-9]{1,4}$/.test(header) ? Number(header) * 1000 : undefined;
}
