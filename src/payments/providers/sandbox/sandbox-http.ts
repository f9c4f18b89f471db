import { Agent, request, type IncomingMessage } from 'node:http';
import { NotExecuted, OutcomeUnknown, RequestRefused } from '../../provider.ts';

const answerBytesMax = 256 * 1024;

/** Calls the payment system's HTTP API. */
export interface SandboxHttp {
  /** The answer's JSON; undefined for 404. Throws NotExecuted, OutcomeUnknown, RequestRefused. */
  call(method: 'GET' | 'POST', path: string, options?: { body?: object; idempotencyKey?: string }): Promise<unknown>;
}

/** A client with a pool of kept connections; a call without an answer by `callDeadlineMs` has an unknown outcome. */
export function createSandboxHttp(options: {
  baseUrl: string;
  apiKey: string;
  callDeadlineMs: number;
  connectionsMax: number;
}): SandboxHttp {
  const agent = new Agent({ keepAlive: true, maxSockets: options.connectionsMax });

  function send(method: string, path: string, body: string | undefined, idempotencyKey: string | undefined) {
    return new Promise<{ status: number; text: string; retryAfterMs: number | undefined }>((resolve, reject) => {
      const outgoing = request(new URL(path, options.baseUrl), {
        method,
        agent,
        signal: AbortSignal.timeout(options.callDeadlineMs),
        headers: {
          authorization: `Bearer ${options.apiKey}`,
          ...(body !== undefined && { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
          ...(idempotencyKey !== undefined && { 'idempotency-key': idempotencyKey }),
        },
      });
      outgoing.on('error', (cause: NodeJS.ErrnoException) => {
        // A refused connection is the one failure that proves that no byte was sent.
        const refused = cause.code === 'ECONNREFUSED';
        reject(
          refused
            ? new NotExecuted('the payment system cannot be reached', { cause })
            : new OutcomeUnknown(`no answer from the payment system: ${cause.code ?? cause.name}`, { cause }),
        );
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

  return {
    async call(method, path, { body, idempotencyKey } = {}) {
      const answer = await send(method, path, body && JSON.stringify(body), idempotencyKey);
      const { status, text, retryAfterMs } = answer;
      if (status >= 200 && status < 300) return parse(text);
      if (status === 404) return undefined;
      const code = errorCode(text);
      if (status === 429 || code === 'idempotency_key_in_use') {
        throw new NotExecuted(
          `the payment system is busy: ${code}`,
          retryAfterMs === undefined ? {} : { retryAfterMs },
        );
      }
      if (status >= 400 && status < 500) throw new RequestRefused(`the payment system refused the request: ${code}`);
      throw new OutcomeUnknown(`the payment system answered ${status}`);
    },
  };
}

async function readText(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > answerBytesMax) throw new Error('the answer is too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
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
    return String((JSON.parse(text) as { error: { code: unknown } }).error.code).slice(0, 64);
  } catch {
    return 'unreadable';
  }
}
