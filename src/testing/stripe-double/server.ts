import { createHmac, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { take } from './intents.ts';
import { StripeRefusal } from './refusal.ts';
import { answer, type Knobs } from './routes.ts';
import { payPage } from './sessions.ts';
import { createStore, type DoubleCard, type Store, type StripeObject } from './store.ts';

const apiVersion = '2026-10-28.endive';
/** Long enough for calls with one key to meet. */
const workMs = 5;

interface Answered {
  readonly status: number;
  readonly body: string;
}

export interface StripeDouble extends Knobs {
  readonly url: string;
  readonly apiKey: string;
  readonly webhookSecret: string;
  /** Its books: every object, in order of creation. */
  objects(kind: string): StripeObject[];
  /** Every call that came in, `POST /v1/payment_intents`, with its key. */
  readonly calls: readonly { readonly call: string; readonly key: string | undefined }[];
  /** What a customer does on the page; false where it is closed. */
  pay(pageUrl: string, card: DoubleCard): boolean;
  /** What a customer does where the bank asks. */
  authenticate(actionUrl: string): void;
  /** An event about the object, signed `ageS` seconds ago. */
  event(type: string, id: string, ageS?: number): { raw: Uint8Array; headers: Record<string, string> };
  close(): Promise<void>;
}

/** Stripe's wire format on 127.0.0.1, from its documentation; it takes nothing that the documentation does not know. */
export async function startStripeDouble(): Promise<StripeDouble> {
  const apiKey = `sk_test_${randomBytes(12).toString('hex')}`;
  const webhookSecret = `whsec_${randomBytes(16).toString('hex')}`;
  let url = '';
  const store = createStore(() => url);
  const knobs: Knobs = { refundStatus: 'succeeded', notSearchableYet: new Set() };
  const calls: { call: string; key: string | undefined }[] = [];
  const oncePerKey = createOncePerKey();

  const server = createServer(async (incoming, response) => {
    const text = Buffer.concat((await incoming.toArray()) as Buffer[]).toString();
    const { pathname, search } = new URL(incoming.url ?? '/', 'http://double');
    const key = headerOf(incoming, 'idempotency-key');
    calls.push({ call: `${incoming.method} ${pathname}`, key });
    const parameters = incoming.method === 'GET' ? search.slice(1) : text;
    const work = async () => {
      checkHeaders(incoming, apiKey);
      if (incoming.method === 'POST') await delay(workMs);
      return answer(store, knobs, incoming.method ?? '', pathname, parameters);
    };
    const hasKey = incoming.method === 'POST' && key !== undefined;
    const { status, body } = await (hasKey ? oncePerKey(key, `${pathname}?${parameters}`, work) : answered(work));
    response
      .writeHead(status, { 'content-type': 'application/json', 'request-id': `req_${randomBytes(7).toString('hex')}` })
      .end(body);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  return Object.assign(knobs, {
    url,
    apiKey,
    webhookSecret,
    calls,
    objects: (kind: string) => [...store.objects.values()].filter(({ object }) => object === kind),
    ...customerOf(store),
    event: (type: string, id: string, ageS = 0) => signedEvent(store.objects.get(id)!, type, ageS, webhookSecret),
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  });
}

function customerOf(store: Store): Pick<StripeDouble, 'pay' | 'authenticate'> {
  const idIn = (address: string) => new URL(address).pathname.split('/').at(-1)!;
  return {
    pay: (pageUrl, card) => payPage(store, store.objects.get(idIn(pageUrl))!, card),
    authenticate(actionUrl) {
      const intent = store.objects.get(idIn(actionUrl))!;
      if (intent['status'] === 'requires_action') take(store, intent);
    },
  };
}

/** What came of the first call is the answer to every later one, 500 included; a refusal before any work is not kept. */
function createOncePerKey() {
  const kept = new Map<string, { request: string; answered: Promise<Answered>; isDone: boolean }>();
  return async (key: string, request: string, work: () => Promise<object>): Promise<Answered> => {
    const before = kept.get(key);
    if (before !== undefined && before.request !== request) {
      const message =
        'Keys for idempotent requests can only be used with the same parameters they were first used with.';
      return refusal(new StripeRefusal(400, '', message, undefined, { type: 'idempotency_error' }));
    }
    if (before !== undefined && !before.isDone) {
      return refusal(
        new StripeRefusal(409, 'idempotency_key_in_use', 'There is currently another in-progress request'),
      );
    }
    if (before !== undefined) return before.answered;
    const entry = { request, answered: answered(work), isDone: false };
    kept.set(key, entry);
    const { status } = await entry.answered;
    entry.isDone = true;
    if (![200, 402, 500].includes(status)) kept.delete(key);
    return entry.answered;
  };
}

async function answered(work: () => Promise<object>): Promise<Answered> {
  try {
    return { status: 200, body: JSON.stringify(await work()) };
  } catch (error) {
    if (error instanceof StripeRefusal) return refusal(error);
    throw error;
  }
}

function refusal({ status, type, code, message, param, more }: StripeRefusal): Answered {
  const error = { type, ...(code && { code }), message, ...(param && { param }), ...more };
  return { status, body: JSON.stringify({ error }) };
}

function checkHeaders(incoming: IncomingMessage, apiKey: string): void {
  if (headerOf(incoming, 'authorization') !== `Bearer ${apiKey}`) {
    throw new StripeRefusal(401, '', 'Invalid API Key provided');
  }
  if (headerOf(incoming, 'stripe-version') !== apiVersion)
    throw new StripeRefusal(400, '', 'Invalid Stripe API version');
  const isForm = headerOf(incoming, 'content-type') === 'application/x-www-form-urlencoded';
  if (incoming.method === 'POST' && !isForm) throw new StripeRefusal(400, '', 'Invalid request: not a form');
}

function signedEvent(object: StripeObject, type: string, ageS: number, secret: string) {
  const time = Math.floor(Date.now() / 1000) - ageS;
  const id = `evt_${object.id}_${type.replaceAll('.', '_')}`;
  const body = JSON.stringify({
    id,
    object: 'event',
    api_version: apiVersion,
    created: time,
    livemode: false,
    pending_webhooks: 1,
    request: { id: null, idempotency_key: null },
    type,
    data: { object },
  });
  const mac = createHmac('sha256', secret).update(`${time}.${body}`).digest('hex');
  return { raw: Buffer.from(body), headers: { 'stripe-signature': `t=${time},v1=${mac}` } };
}

function headerOf(incoming: IncomingMessage, name: string): string | undefined {
  const value = incoming.headers[name];
  return typeof value === 'string' ? value : undefined;
}
