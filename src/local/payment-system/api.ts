import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { ApiError, notFound } from './api-error.ts';
import { chargeMethod } from './charges.ts';
import { expireCheckout, openCheckout } from './checkouts.ts';
import { setClock, showClock } from './clock-api.ts';
import { control } from './control-api.ts';
import { parseObject, readBody, type Answer, type Reply } from './http.ts';
import { closeDispute, openDispute } from './disputes.ts';
import { createOncePerKey } from './idempotency.ts';
import type { PaymentObject, SavedMethod } from './ledger-line.ts';
import { listDisputes } from './list-disputes.ts';
import { listPayments } from './list-payments.ts';
import { listWebhooks } from './list-webhooks.ts';
import { refundPayment } from './refunds.ts';
import { doWhatIsDue, type System } from './system.ts';
import { cancelCharge } from './under-way.ts';

export type Api = (request: IncomingMessage, url: URL) => Promise<Reply>;

/** Answers the calls under `/v1/`. Throws an ApiError to refuse one. */
export function createApi(system: System): Api {
  const { books } = system;
  const oncePerKey = createOncePerKey(system);
  let callsInFlight = 0;

  const clock = async (request: IncomingMessage): Promise<Answer> => {
    if (request.method === 'POST') await setClock(system, parseObject(await readBody(request)));
    else if (request.method === 'GET') await doWhatIsDue(system);
    else throw notFound('call');
    return { status: 200, body: showClock(system, callsInFlight) };
  };

  const call = async (request: IncomingMessage, url: URL): Promise<Reply> => {
    const path = url.pathname;
    switch (`${request.method} ${path}`) {
      case 'POST /v1/checkouts':
        return oncePerKey(request, path, (body, key) => ({
          line: openCheckout(books, body, system.baseUrl, key),
        }));
      case 'POST /v1/charges':
        return oncePerKey(request, path, (body, key) => chargeMethod(books, body, system.baseUrl, key));
      case 'POST /v1/refunds':
        return oncePerKey(request, path, (body, key) => refundPayment(books, body, key));
    }
    if (request.method === 'POST' && path.startsWith('/v1/disputes')) return dispute(system, request, url);
    const body = await withoutKey(system, request.method ?? '', url);
    await books.settled();
    return { status: 200, body };
  };

  return async (request, url) => {
    authenticate(request, system.apiKey);
    if (url.pathname === '/v1/test_clock') return clock(request);
    if (/^\/v1\/(scripts|faults)(\/|$)/.test(url.pathname)) return control(system, request, url);
    // Whoever only watches is no work that the clock has to wait for.
    if (`${request.method} ${url.pathname}` === 'GET /v1/webhooks') {
      const body = listWebhooks(books, url.searchParams);
      await books.settled();
      return { status: 200, body };
    }
    callsInFlight += 1;
    try {
      return await call(request, url);
    } finally {
      callsInFlight -= 1;
    }
  };
}

function authenticate(request: IncomingMessage, apiKey: string): void {
  const given = /^Bearer (.+)$/i.exec(request.headers.authorization ?? '')?.[1] ?? '';
  const hash = (text: string): Buffer => createHash('sha256').update(text).digest();
  if (!timingSafeEqual(hash(given), hash(apiKey))) {
    throw new ApiError(401, 'api_key_invalid', 'the API key is missing or wrong', 'authentication_error');
  }
}

async function withoutKey(system: System, method: string, url: URL): Promise<object> {
  const { state } = system.books;
  const [, , collection = '', id, action] = url.pathname.split('/');
  switch (`${method} ${collection}${id === undefined ? '' : '/:id'}${action === undefined ? '' : `/${action}`}`) {
    case 'GET payments':
      return listPayments(system.books.state, url.searchParams);
    case 'GET payments/:id':
      return found(state.payments.get(id!), `payment: ${id}`);
    case 'POST payments/:id/cancel':
      return cancel(system, found(state.payments.get(id!), `payment: ${id}`));
    case 'GET refunds':
      return {
        data: (state.refundsByReference.get(required(url, 'reference')) ?? []).map((re) => state.refunds.get(re)),
      };
    case 'GET disputes':
      return listDisputes(state, url.searchParams);
    case 'GET disputes/:id':
      return found(state.disputes.get(id!), `dispute: ${id}`);
    case 'GET refunds/:id':
      return found(state.refunds.get(id!), `refund: ${id}`);
    case 'GET payment_methods/:id':
      return showMethod(found(state.methods.get(id!), `payment method: ${id}`));
    case 'DELETE payment_methods/:id':
      return detachMethod(system, found(state.methods.get(id!), `payment method: ${id}`));
    case 'POST checkouts/:id/expire':
      return expire(system, id!);
    default:
      throw notFound('call');
  }
}

/** What a cardholder and the bank do: `POST /v1/disputes`, `POST /v1/disputes/{id}/close`. */
async function dispute(system: System, request: IncomingMessage, url: URL): Promise<Answer> {
  const { books, webhooks } = system;
  const [, , , id, action] = url.pathname.split('/');
  const body = parseObject(await readBody(request));
  if (id !== undefined && action !== 'close') throw notFound('call');
  const line =
    id === undefined
      ? openDispute(books, body)
      : closeDispute(books, found(books.state.disputes.get(id), `dispute: ${id}`), body);
  await books.record(line);
  webhooks.deliverDue();
  return { status: 200, body: line.dispute! };
}

function found<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw notFound(what);
  return value;
}

function required(url: URL, name: string): string {
  const value = url.searchParams.get(name);
  if (value === null) throw new ApiError(400, 'parameter_missing', `${name} is missing`);
  return value;
}

/** How its card behaves is the system's secret. */
function showMethod(method: SavedMethod): object {
  return { ...method, behaviour: undefined };
}

async function detachMethod({ books }: System, method: SavedMethod): Promise<object> {
  const detached: SavedMethod = { ...method, detached: true };
  if (!method.detached) await books.record({ type: 'method_detached', at: books.clock.now(), method: detached });
  return showMethod(detached);
}

/** The answer is the payment as it is then: what cannot be cancelled goes on. */
async function cancel(system: System, { id, kind }: PaymentObject): Promise<object> {
  const { books, webhooks } = system;
  if (kind !== 'off_session') throw notFound(`charge: ${id}`);
  await doWhatIsDue(system);
  const payment = books.state.payments.get(id)!;
  const line = cancelCharge(books, payment);
  if (line === undefined) return payment;
  await books.record(line);
  webhooks.deliverDue();
  return line.payment!;
}

/** Money that came before stays: the answer is then a succeeded payment. */
async function expire(system: System, id: string): Promise<object> {
  const { books, webhooks } = system;
  await doWhatIsDue(system);
  const payment = books.state.payments.get(id);
  if (payment?.kind !== 'checkout') throw notFound(`checkout: ${id}`);
  if (payment.status !== 'open') return payment;
  const line = expireCheckout(books, payment);
  await books.record(line);
  webhooks.deliverDue();
  return line.payment!;
}
