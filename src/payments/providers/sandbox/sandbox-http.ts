import { Agent, request, type IncomingMessage } from 'node:http';
import { NotExecuted, OutcomeUnknown, RequestRefused } from '../../provider.ts';

const answerBytesMax = 256 * 1024;
const refusedStatuses: ReadonlySet<number> = new Set([400, 401, 403, 404]);

/** Calls the payment system's HTTP API. */
export interface SandboxHttp {
  /** The answer's JSON; undefined when there is no such thing. Throws NotExecuted, OutcomeUnknown, RequestRefused. */
  call(
    method: 'GET' | 'POST' | 'PUT' | 'DELETE',
    path: string,
    options?: { body?: object; idempotencyKey?: string },
  ): Promise<unknown>;
}

interface Answer {
  readonly status: number;
  readonly text: string;
  readonly retryAfterMs: number | undefined;
}

/**
 * A client with a pool of kept connections; a call without an answer by `callDeadlineMs` has an unknown outcome. Every
 * call may be sent twice: a POST that does something carries an idempotency key or is idempotent by itself.
 */
export function createSandboxHttp(options: {
  /** `http://host:port`. */
  baseUrl: string;
  apiKey: string;
  callDeadlineMs: number;
  connectionsMax: number;
}): SandboxHttp {
  if (URL.parse(options.baseUrl)?.protocol !== 'http:') throw new Error('the payment system has no http address');
  const agent = new Agent({ keepAlive: true, maxSockets: options.connectionsMax });

  return {
    async call(method, path, { body, idempotencyKey } = {}) {
      const text = body && JSON.stringify(body);
      const sending = {
        url: new URL(path, options.baseUrl),
        method,
        body: text,
        headers: {
          authorization: `Bearer ${options.apiKey}`,
          ...(text !== undefined && { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
          ...(idempotencyKey !== undefined && { 'idempotency-key': idempotencyKey }),
        },
        signal: AbortSignal.timeout(options.callDeadlineMs),
      };
      const answer = await send({ ...sending, agent });
      if (answer !== 'kept connection lost') return read(method, answer);
      return repeated(async () => {
        // A new connection: others in the pool may be closed as well.
        const second = await send({ ...sending, agent: false });
        if (second === 'kept connection lost') throw new OutcomeUnknown('the connection was lost twice');
        return read(method, second);
      });
    },
  };
}

/** The first call may have been executed, so a refusal of the repeat proves nothing about it. */
async function repeated(call: () => Promise<unknown>): Promise<unknown> {
  try {
    return await call();
  } catch (cause) {
    if (cause instanceof OutcomeUnknown) throw cause;
    throw new OutcomeUnknown('the connection was lost, and the repeat was not executed', { cause });
  }
}

/** `kept connection lost`: a connection from the pool broke before an answer; often the server had closed it before. */
function send(sending: {
  url: URL;
  method: string;
  body: string | undefined;
  headers: Record<string, string | number>;
  signal: AbortSignal;
  agent: Agent | false;
}): Promise<Answer | 'kept connection lost'> {
  const { url, body, ...options } = sending;
  return new Promise((resolve, reject) => {
    const outgoing = request(url, options);
    outgoing.on('error', (cause: NodeJS.ErrnoException) => {
      // A refused connection is the one failure that proves that no byte was sent.
      if (cause.code === 'ECONNREFUSED') reject(new NotExecuted('the payment system cannot be reached', { cause }));
      else if (options.signal.aborted) reject(new OutcomeUnknown('no answer in time', { cause }));
      else if (outgoing.reusedSocket && ['ECONNRESET', 'EPIPE'].includes(cause.code ?? '')) {
        resolve('kept connection lost');
      } else reject(new OutcomeUnknown(`no answer from the payment system: ${cause.code ?? cause.name}`, { cause }));
    });
    outgoing.on('response', (response) => {
      readText(response).then(
        (text) => resolve({ status: response.statusCode ?? 0, text, retryAfterMs: retryAfterOf(response) }),
        (cause: unknown) => reject(new OutcomeUnknown('the answer of the payment system broke off', { cause })),
      );
    });
    outgoing.end(body);
  });
}

function read(method: string, { status, text, retryAfterMs }: Answer): unknown {
  if (status === 200) return parse(text);
  const code = errorCode(text);
  if (status === 429 || (status === 409 && code === 'idempotency_key_in_use')) {
    const message = `the payment system is busy: ${status} ${code}`;
    throw new NotExecuted(message, retryAfterMs === undefined ? {} : { retryAfterMs });
  }
  if (status === 404 && code === 'not_found') return undefined;
  // A 404 that is not the payment system's own does not prove that it has no such payment.
  const isRefused = refusedStatuses.has(status) && !(status === 404 && method === 'GET');
  if (isRefused) throw new RequestRefused(`the payment system refused the request: ${status} ${code}`);
  throw new OutcomeUnknown(`the payment system answered ${status} ${code}`);
}

async function readText(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > answerBytesMax) throw new Error('the answer is too large');
    chunks.push(chunk);
  }
  return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks));
}

function retryAfterOf(response: IncomingMessage): number | undefined {
  const header = response.headers['retry-after'];
  return header !== undefined && /^[0-9]{1,4}$/.test(header) ? Number(header) * 1000 : undefined;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new OutcomeUnknown('the answer of the payment system is not JSON', { cause });
  }
}

function errorCode(text: string): string {
  try {
    const { code } = (JSON.parse(text) as { error: { code: unknown } }).error;
    return typeof code === 'string' && /^[a-z_]{1,64}$/.test(code) ? code : 'unreadable';
  } catch {
    return 'unreadable';
  }
}
