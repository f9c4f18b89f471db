import { setTimeout as delay } from 'node:timers/promises';
import type { DoubleCard } from '../double/cards.ts';
import { createOncePerKey, type Answered } from '../double/once-per-key.ts';
import type { DoubleSettings } from '../double/program.ts';
import type { Step } from '../double/scripts.ts';
import { startDouble, type DoubleHost, type DoubleSystem } from '../double/server.ts';
import { booksOf, pageOf } from './books.ts';
import { invalid, YookassaRefusal } from './refusal.ts';
import { createShop, type Shop, type YookassaObject } from './shop.ts';

/** Long enough for calls with one key to meet. */
const workMs = 5;
const filters =
  'created_at.gte created_at.gt created_at.lte created_at.lt status limit cursor payment_id refund_id'.split(' ');
const shopId = '100500';

export interface YookassaDouble {
  /** The API's address, with its version. */
  readonly url: string;
  readonly shopId: string;
  readonly secretKey: string;
  readonly shop: Shop;
  /** Every call that came in, `POST /payments`, with its key. */
  readonly calls: readonly { readonly call: string; readonly key: string | undefined }[];
  /** What a customer does on the page; each card pays there. */
  pay(pageUrl: string, card: DoubleCard): void;
  close(): Promise<void>;
}

/** YooKassa's wire format on 127.0.0.1, from its documentation; it takes nothing that the documentation does not know. */
export async function startYookassaDouble(settings: Partial<DoubleSettings> = {}): Promise<YookassaDouble> {
  const secretKey = settings.key ?? 'test_double';
  const { server, system } = await startDouble(settings, (host) => createYookassa(host, secretKey));
  return {
    url: `${server.origin}/v3`,
    shopId,
    secretKey,
    shop: system.shop,
    calls: system.calls,
    pay: (pageUrl, card) => void system.act(new URL(pageUrl).pathname.split('/').at(-1)!, 'pay', card),
    close: () => server.close(),
  };
}

interface Yookassa extends DoubleSystem {
  readonly shop: Shop;
  readonly calls: { call: string; key: string | undefined }[];
}

function createYookassa({ origin, scripts, notices, state }: DoubleHost, secretKey: string): Yookassa {
  const authorization = `Basic ${Buffer.from(`${shopId}:${secretKey}`).toString('base64')}`;
  const shop = createShop(state, origin, (event, object) => {
    const raw = Buffer.from(JSON.stringify({ type: 'notification', event, object: shown(object) }));
    notices.send(() => ({ raw, headers: {} }));
  });
  const calls: Yookassa['calls'] = [];
  const oncePerKey = createOncePerKey(keyRules, state.map('keys'));

  function nextStep(path: string, body: Record<string, unknown>): Step {
    if (path === '/payments' && body['payment_method_id'] !== undefined) {
      return scripts.next(customerOf(body), 'charges');
    }
    if (path !== '/refunds') return { outcome: 'by_card', delay_ms: 0 };
    const payment = shop.payments.get(String(body['payment_id']));
    return scripts.next(payment && customerOf(payment), 'refunds');
  }

  return {
    name: 'YooKassa',
    key: secretKey,
    shop,
    calls,
    async answer(call) {
      const path = call.url.pathname.replace(/^\/v3/, '');
      const key = call.header('idempotence-key');
      calls.push({ call: `${call.method} ${path}`, key });
      if (call.header('authorization') !== authorization) {
        return refusal(new YookassaRefusal(401, 'invalid_credentials', 'Basic authentication error'));
      }
      if (call.method === 'GET') return answered(async () => ok(read(shop, path, call.url.searchParams)));
      if (key === undefined || key.length > 64) return refusal(invalid('Idempotence key is missing or too long'));
      const body = JSON.parse(call.text) as Record<string, unknown>;
      const work = async (step: Step) => {
        await delay(workMs);
        return answered(async () => ok(shop.create(`POST ${path}`, body, step)));
      };
      return oncePerKey({ key, request: `${path} ${call.text}`, step: () => nextStep(path, body), work });
    },
    books: () => booksOf(shop),
    page: (id) => pageOf(shop, id),
    act: (id, action, card) => (action === 'pay' ? shop.pay(id, card) : shop.cancel(id)),
  };
}

function customerOf({ metadata }: Record<string, unknown>): string | undefined {
  return (metadata as Record<string, string> | undefined)?.['customer'];
}

function refusal({ status, code, message: description, parameter }: YookassaRefusal): Answered {
  return { status, body: JSON.stringify({ type: 'error', id: 'double', code, description, parameter }) };
}

/** The result of the first call answers every later one with its key; a refusal is not kept. */
const keyRules = {
  mismatch: refusal(invalid('Idempotence key duplicated', 'Idempotence-Key')),
  inUse: undefined,
  internalError: refusal(new YookassaRefusal(500, 'internal_server_error', 'Unknown result')),
  keptStatuses: [200, 500],
};

function read(shop: Shop, path: string, query: URLSearchParams): object {
  const [, kind = '', id] = path.split('/');
  const objects = {
    payments: shop.payments,
    payment_methods: shop.methods,
    refunds: shop.refunds,
    receipts: shop.receipts,
  }[kind];
  const found = id === undefined ? undefined : objects?.get(decodeURIComponent(id));
  if (found !== undefined) return found;
  if (id !== undefined || objects === undefined || kind === 'payment_methods') {
    throw new YookassaRefusal(404, 'not_found', 'Not found');
  }
  for (const name of query.keys()) if (!filters.includes(name)) throw invalid(`Unknown parameter ${name}`, name);
  const limit = Number(query.get('limit') ?? 10);
  if (!(limit >= 1 && limit <= 100)) throw invalid('Invalid limit', 'limit');
  const [from, to] = [query.get('created_at.gte') ?? '', query.get('created_at.lt') ?? '~'];
  const [paymentId, refundId] = [query.get('payment_id'), query.get('refund_id')];
  const listed = [...objects.values()].toReversed().filter((object) => {
    const createdAt = String(object['created_at']);
    return (
      createdAt >= from &&
      createdAt < to &&
      (paymentId === null || object['payment_id'] === paymentId) &&
      (refundId === null || object['refund_id'] === refundId)
    );
  });
  const start = Number(query.get('cursor') ?? 0);
  const next = start + limit < listed.length ? { next_cursor: String(start + limit) } : {};
  return { type: 'list', items: listed.slice(start, start + limit), ...next };
}

function shown(object: object): Partial<YookassaObject> {
  const { saves: _, ...visible } = object as YookassaObject;
  return visible;
}

function ok(object: object): Answered {
  return { status: 200, body: JSON.stringify(shown(object)) };
}

async function answered(work: () => Promise<Answered>): Promise<Answered> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof YookassaRefusal)) throw error;
    return refusal(error);
  }
}
