import { createHmac, randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { DoubleCard } from '../double/cards.ts';
import { createOncePerKey, type Answered } from '../double/once-per-key.ts';
import type { DoubleSettings } from '../double/program.ts';
import type { Step } from '../double/scripts.ts';
import { startDouble, type DoubleHost, type DoubleSystem, type WireCall } from '../double/server.ts';
import { booksOf, pageOf } from './books.ts';
import { closeDispute, escalateInquiry, openDispute } from './disputes.ts';
import { take } from './intents.ts';
import { readParameters, textAt } from './parameters.ts';
import { StripeRefusal } from './refusal.ts';
import { answer, type Knobs } from './routes.ts';
import { payPage } from './sessions.ts';
import { createStore, type Store, type StripeObject } from './store.ts';

const apiVersion = '2026-10-28.endive';
/** Long enough for calls with one key to meet. */
const workMs = 5;
const byCard: Step = { outcome: 'by_card', delay_ms: 0 };

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
  /** What a cardholder does with a charge, by its intent; an inquiry moves no money. Gives the dispute's id. */
  dispute(intentId: string, kind?: 'dispute' | 'inquiry'): string;
  /** What the bank makes of an inquiry that nobody answered. */
  escalate(inquiryId: string): void;
  /** What the bank decides. */
  closeDispute(disputeId: string, outcome: 'won' | 'lost'): void;
  close(): Promise<void>;
}

/** Stripe's wire format on 127.0.0.1, from its documentation; it takes nothing that the documentation does not know. */
export async function startStripeDouble(settings: Partial<DoubleSettings> = {}): Promise<StripeDouble> {
  const apiKey = settings.key ?? `sk_test_${randomBytes(12).toString('hex')}`;
  const webhookSecret = settings.noticeSecret ?? `whsec_${randomBytes(16).toString('hex')}`;
  const { server, system } = await startDouble(settings, (host) => createStripe(host, apiKey, webhookSecret));
  const { store, knobs, calls } = system;
  return Object.assign(knobs, {
    url: server.origin,
    apiKey,
    webhookSecret,
    calls,
    objects: (kind: string) => [...store.objects.values()].filter(({ object }) => object === kind),
    pay: (pageUrl: string, card: DoubleCard) => system.act(idIn(pageUrl), 'pay', card),
    authenticate: (actionUrl: string) => void system.act(idIn(actionUrl), 'pay', 'good'),
    event: (type: string, id: string, ageS = 0) => signedEvent(store.objects.get(id)!, type, ageS, webhookSecret),
    dispute: (intentId: string, kind: 'dispute' | 'inquiry' = 'dispute') => openDispute(store, intentId, kind).id,
    escalate: (inquiryId: string) => escalateInquiry(store, store.objects.get(inquiryId)!),
    closeDispute: (disputeId: string, outcome: 'won' | 'lost') =>
      void closeDispute(store, store.objects.get(disputeId)!, outcome),
    close: () => server.close(),
  });
}

const idIn = (address: string) => new URL(address).pathname.split('/').at(-1)!;

interface Stripe extends DoubleSystem {
  readonly store: Store;
  readonly knobs: Knobs;
  readonly calls: { call: string; key: string | undefined }[];
}

function createStripe({ origin, scripts, notices, state }: DoubleHost, apiKey: string, webhookSecret: string): Stripe {
  const store = createStore(state, origin, (type, object) => {
    // As it is now: a try to deliver may come when it has changed again.
    const told = structuredClone(object);
    notices.send(() => signedEvent(told, type, 0, webhookSecret));
  });
  const knobs: Knobs = { refundStatus: 'succeeded', notSearchableYet: new Set() };
  const calls: Stripe['calls'] = [];
  const oncePerKey = createOncePerKey(keyRules, state.map('keys'));

  return {
    name: 'Stripe',
    key: apiKey,
    store,
    knobs,
    calls,
    answer(call) {
      const { pathname: path, search } = call.url;
      const key = call.header('idempotency-key');
      calls.push({ call: `${call.method} ${path}`, key });
      const text = call.method === 'GET' ? search.slice(1) : call.text;
      const work = async (step: Step) =>
        answered(async () => {
          checkHeaders(call, apiKey);
          if (call.method === 'POST') await delay(workMs);
          return answer(store, knobs, { method: call.method, path, text }, step);
        });
      if (call.method !== 'POST' || key === undefined) return work(byCard);
      return oncePerKey({ key, request: `${path}?${text}`, step: () => nextStep(path, text), work });
    },
    books: () => booksOf(store),
    page: (id) => pageOf(store, id),
    act(id, action, card) {
      const object = store.objects.get(id);
      if (object?.object === 'checkout.session') return action === 'pay' && payPage(store, object, card);
      if (object?.['status'] !== 'requires_action' || action !== 'pay') return false;
      take(store, object);
      return true;
    },
  };

  function nextStep(path: string, text: string): Step {
    const moves = ({ '/v1/payment_intents': 'charges', '/v1/refunds': 'refunds' } as const)[path];
    if (moves === undefined) return byCard;
    const tree = readParameters(text, `POST ${path}`);
    const intent = store.objects.get(textAt(tree, 'payment_intent') ?? '');
    const customer = textAt(tree, 'customer') ?? (intent?.['customer'] as string | undefined);
    return scripts.next(store.customerReferences.get(customer ?? ''), moves);
  }
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

/** What came of the first call is the answer to every later one, 500 included; a refusal before any work is not kept. */
const keyRules = {
  mismatch: refusal(
    new StripeRefusal(
      400,
      '',
      'Keys for idempotent requests can only be used with the same parameters they were first used with.',
      undefined,
      { type: 'idempotency_error' },
    ),
  ),
  inUse: refusal(new StripeRefusal(409, 'idempotency_key_in_use', 'There is currently another in-progress request')),
  internalError: refusal(new StripeRefusal(500, '', 'something went wrong', undefined, { type: 'api_error' })),
  keptStatuses: [200, 402, 500],
};

function checkHeaders(call: WireCall, apiKey: string): void {
  if (call.header('authorization') !== `Bearer ${apiKey}`) {
    throw new StripeRefusal(401, '', 'Invalid API Key provided');
  }
  if (call.header('stripe-version') !== apiVersion) throw new StripeRefusal(400, '', 'Invalid Stripe API version');
  const isForm = call.header('content-type') === 'application/x-www-form-urlencoded';
  if (call.method === 'POST' && !isForm) throw new StripeRefusal(400, '', 'Invalid request: not a form');
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
