import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { invalid, YookassaRefusal } from './refusal.ts';
import { createShop, type DoubleCard, type Shop, type YookassaObject } from './shop.ts';

/** Long enough for calls with one key to meet. */
const workMs = 5;
const filters = 'created_at.gte created_at.gt created_at.lte created_at.lt status limit cursor payment_id'.split(' ');

interface Answered {
  readonly status: number;
  readonly body: string;
}

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
export async function startYookassaDouble(): Promise<YookassaDouble> {
  const [shopId, secretKey] = ['100500', 'test_double'];
  const authorization = `Basic ${Buffer.from(`${shopId}:${secretKey}`).toString('base64')}`;
  let origin = '';
  const shop = createShop(() => origin);
  const calls: { call: string; key: string | undefined }[] = [];
  const kept = new Map<string, { request: string; answered: Promise<Answered> }>();

  const server = createServer(async (incoming, response) => {
    const text = Buffer.concat((await incoming.toArray()) as Buffer[]).toString();
    const url = new URL(incoming.url ?? '/', 'http://double');
    const path = url.pathname.replace(/^\/v3/, '');
    const key = incoming.headers['idempotence-key'] as string | undefined;
    calls.push({ call: `${incoming.method} ${path}`, key });
    const { status, body } = await answered(async () => {
      if (incoming.headers.authorization !== authorization) {
        throw new YookassaRefusal(401, 'invalid_credentials', 'Basic authentication error');
      }
      if (incoming.method === 'GET') return ok(read(shop, path, url.searchParams));
      if (key === undefined || key.length > 64) throw invalid('Idempotence key is missing or too long');
      return onceForKey(kept, key, `${path} ${text}`, async () => {
        await delay(workMs);
        return shop.create(`POST ${path}`, JSON.parse(text) as Record<string, unknown>);
      });
    });
    response.writeHead(status, { 'content-type': 'application/json;charset=UTF-8' }).end(body);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  return {
    url: `${origin}/v3`,
    shopId,
    secretKey,
    shop,
    calls,
    pay: (pageUrl, card) => shop.pay(new URL(pageUrl).pathname.split('/').at(-1)!, card),
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

/** The result of the first call answers every later one with its key; a refusal is not kept. */
async function onceForKey(
  kept: Map<string, { request: string; answered: Promise<Answered> }>,
  key: string,
  request: string,
  work: () => Promise<YookassaObject>,
): Promise<Answered> {
  const before = kept.get(key);
  if (before !== undefined && before.request !== request)
    throw invalid('Idempotence key duplicated', 'Idempotence-Key');
  if (before !== undefined) return before.answered;
  const first = answered(async () => ok(await work()));
  kept.set(key, { request, answered: first });
  const { status } = await first;
  if (![200, 500].includes(status)) kept.delete(key);
  return first;
}

function read(shop: Shop, path: string, query: URLSearchParams): object {
  const [, kind = '', id] = path.split('/');
  const objects = { payments: shop.payments, payment_methods: shop.methods, refunds: shop.refunds }[kind];
  const found = id === undefined ? undefined : objects?.get(decodeURIComponent(id));
  if (found !== undefined) return found;
  if (id !== undefined || objects === undefined || kind === 'payment_methods') {
    throw new YookassaRefusal(404, 'not_found', 'Not found');
  }
  for (const name of query.keys()) if (!filters.includes(name)) throw invalid(`Unknown parameter ${name}`, name);
  const limit = Number(query.get('limit') ?? 10);
  if (!(limit >= 1 && limit <= 100)) throw invalid('Invalid limit', 'limit');
  const [from, to] = [query.get('created_at.gte') ?? '', query.get('created_at.lt') ?? '~'];
  const paymentId = query.get('payment_id');
  const listed = [...objects.values()].toReversed().filter((object) => {
    const createdAt = String(object['created_at']);
    return createdAt >= from && createdAt < to && (paymentId === null || object['payment_id'] === paymentId);
  });
  const start = Number(query.get('cursor') ?? 0);
  const next = start + limit < listed.length ? { next_cursor: String(start + limit) } : {};
  return { type: 'list', items: listed.slice(start, start + limit), ...next };
}

const ok = (object: object): Answered => {
  const { saves: _, ...shown } = object as Record<string, unknown>;
  return { status: 200, body: JSON.stringify(shown) };
};

async function answered(work: () => Promise<Answered> | Answered): Promise<Answered> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof YookassaRefusal)) throw error;
    const { status, code, message: description, parameter } = error;
    return { status, body: JSON.stringify({ type: 'error', id: 'double', code, description, parameter }) };
  }
}
