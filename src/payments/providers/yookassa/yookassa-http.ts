import { NotExecuted, OutcomeUnknown, RequestRefused } from '../../provider.ts';

const answerBytesMax = 2 * 1024 * 1024;
const lostConnectionCodes: ReadonlySet<unknown> = new Set(['ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET']);
const refusedStatuses: ReadonlySet<number> = new Set([400, 401, 403, 404, 405, 415]);

/** Calls the API, version 3. */
export interface YookassaHttp {
  /** The answer's JSON; undefined when YooKassa says that it has no such thing. Throws what a provider may throw. */
  get(path: string): Promise<unknown>;
  post(path: string, body: object, idempotencyKey: string): Promise<unknown>;
}

interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown> | undefined;
  readonly retryAfterMs: number | undefined;
}

/** A client; a call without an answer by `callDeadlineMs` has an unknown outcome. */
export function createYookassaHttp(options: {
  /** `https://api.yookassa.ru/v3`. */
  baseUrl: string;
  shopId: string;
  secretKey: string;
  callDeadlineMs: number;
}): YookassaHttp {
  const authorization = `Basic ${Buffer.from(`${options.shopId}:${options.secretKey}`).toString('base64')}`;

  async function call(method: 'GET' | 'POST', path: string, more: RequestInit): Promise<unknown> {
    const headers = { authorization, ...(more.headers as Record<string, string>) };
    const signal = AbortSignal.timeout(options.callDeadlineMs);
    const send = () =>
      fetchAnswer(`${options.baseUrl}${path}`, { ...more, method, headers, signal, redirect: 'manual' });
    try {
      return read(method, await send());
    } catch (error) {
      if (error instanceof RequestRefused || error instanceof NotExecuted || error instanceof OutcomeUnknown)
        throw error;
      // A refused connection is the one failure that proves that no byte was sent.
      if (codeOf(error) === 'ECONNREFUSED') throw new NotExecuted('YooKassa cannot be reached', { cause: error });
      if (signal.aborted || !lostConnectionCodes.has(codeOf(error))) throw noAnswer(error);
    }
    // Every call is a reading one or carries a key. The first may have been executed: only a result says more.
    try {
      return read(method, await send());
    } catch (error) {
      throw noAnswer(error);
    }
  }

  return {
    get: (path) => call('GET', path, {}),
    post: (path, body, idempotencyKey) =>
      call('POST', path, {
        body: JSON.stringify(body),
        headers: { 'content-type': 'application/json', 'idempotence-key': idempotencyKey },
      }),
  };
}

async function fetchAnswer(url: string, init: RequestInit): Promise<Answer> {
  const response = await fetch(url, init);
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += (chunk as Uint8Array).length;
    if (bytes > answerBytesMax) throw new Error('the answer is too large');
    chunks.push(chunk as Uint8Array);
  }
  const retryAfter = response.headers.get('retry-after') ?? '';
  return {
    status: response.status,
    body: parse(Buffer.concat(chunks)),
    retryAfterMs: /^[0-9]{1,4}$/.test(retryAfter) ? Number(retryAfter) * 1000 : undefined,
  };
}

function parse(bytes: Buffer): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function read(method: string, { status, body, retryAfterMs }: Answer): unknown {
  if (status === 200 && body !== undefined) return body;
  const code = body?.['type'] === 'error' && /^[a-z_]{1,64}$/.test(String(body['code'])) ? String(body['code']) : '';
  const told = `${status} ${code} ${typeof body?.['parameter'] === 'string' ? body['parameter'] : ''}`.trim();
  // A proxy's error is not YooKassa's.
  if (code === '') throw new OutcomeUnknown(`YooKassa answered ${told} in another form than its own`);
  if (status === 429) {
    throw new NotExecuted(`YooKassa is busy: ${told}`, retryAfterMs === undefined ? {} : { retryAfterMs });
  }
  if (status === 404 && method === 'GET' && code === 'not_found') return undefined;
  if (refusedStatuses.has(status)) throw new RequestRefused(`YooKassa refused the request: ${told}`);
  throw new OutcomeUnknown(`YooKassa answered ${told}`);
}

const noAnswer = (cause: unknown) => new OutcomeUnknown('no answer from YooKassa', { cause });

function codeOf(error: unknown): unknown {
  const { code, cause } = (error ?? {}) as { code?: unknown; cause?: { code?: unknown } };
  return cause?.code ?? code;
}
