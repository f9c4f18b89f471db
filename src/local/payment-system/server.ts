import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { ApiError, notFound } from './api-error.ts';
import { createApi } from './api.ts';
import { never, reset, sendAnswer, type Answer, type Reply } from './http.ts';
import { answerPage } from './page.ts';
import type { System } from './system.ts';

const requestTimeoutMs = 10_000;
/** Longer than merchants' pools are idle: a connection closed as a call goes out makes its outcome unknown to them. */
const keepAliveMs = 60_000;

/** The HTTP server, not listening and answering nothing yet. */
export function createPaymentServer(): Server {
  return createServer({ requestTimeout: requestTimeoutMs, keepAliveTimeout: keepAliveMs });
}

/** Answers every request: the API under `/v1/`, the customers' pages under `/pay/`, `/readyz`. */
export function createRequestListener(system: System, log: (line: string) => void): RequestListener {
  const api = createApi(system);

  const answer = async (request: IncomingMessage): Promise<Reply> => {
    const url = URL.parse(request.url ?? '/', 'http://payment-system');
    if (url === null) throw notFound('address');
    if (url.pathname.startsWith('/v1/')) return api(request, url);
    const isPageCall = request.method === 'GET' || request.method === 'POST';
    if (isPageCall && url.pathname.startsWith('/pay/')) return answerPage(system, request, url);
    if (request.method === 'GET' && url.pathname === '/readyz') return { status: 200, body: { ready: true } };
    throw notFound('address');
  };

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const given = await answer(request).catch((error: unknown) => refusal(error, request, log));
    if (given === reset) request.socket.resetAndDestroy();
    else if (given !== never) sendAnswer(response, given);
  };

  return (request, response) => void handle(request, response);
}

function refusal(error: unknown, request: IncomingMessage, log: (line: string) => void): Answer {
  if (error instanceof ApiError) {
    const { status, type, code, message } = error;
    const headers = status === 429 ? { 'retry-after': '1' } : {};
    return { status, body: { error: { type, code, message } }, headers };
  }
  // Who hangs up in the middle of a body is no fault of ours.
  if (request.complete) log(`${request.method} ${request.url?.split('?')[0]}: ${String(error)}`);
  const message = 'internal error';
  return { status: 500, body: { error: { type: 'api_error', code: 'internal_error', message } } };
}
