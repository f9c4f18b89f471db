import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { cardOfNumber, type DoubleCard } from './cards.ts';
import { createNotices, type Notices } from './notices.ts';
import { never, type Reply } from './once-per-key.ts';
import { pageHeaders, pageHtml, type PageView } from './page.ts';
import { openState, type DoubleState } from './state-file.ts';
import { createScripts, readScript, type Scripts } from './scripts.ts';

/** A payment in the double's books. Amounts are texts in minor units. */
export interface BookLine {
  readonly id: string;
  readonly kind: 'checkout' | 'off_session';
  readonly reference: string;
  /** Auth's user id. */
  readonly customer_reference: string;
  readonly status: 'succeeded' | 'other';
  readonly amount_minor: string;
  readonly refunded_minor: string;
}

export interface WireCall {
  readonly method: string;
  /** With its query. */
  readonly url: URL;
  readonly text: string;
  header(name: string): string | undefined;
}

/** One payment system, inside the server that all doubles share. */
export interface DoubleSystem {
  readonly name: string;
  /** Asked for by the books and the scripts. */
  readonly key: string;
  answer(call: WireCall): Promise<Reply>;
  books(): BookLine[];
  page(id: string): PageView | undefined;
  /** What the customer does on a page; false where it is closed. */
  act(id: string, action: 'pay' | 'decline', card: DoubleCard): boolean;
}

/** What the server gives to the system in it. */
export interface DoubleHost {
  /** `http://127.0.0.1:port` */
  readonly origin: () => string;
  readonly scripts: Scripts;
  readonly notices: Notices;
  readonly state: DoubleState;
}

export interface DoubleServer {
  readonly origin: string;
  close(): Promise<void>;
}

export interface DoubleOptions {
  /** Any free one when left out. */
  readonly port?: number;
  /** Where notices go; nowhere when left out. */
  readonly noticeUrl?: string;
  /** Where it keeps what it knows between starts; nowhere when left out. */
  readonly dataDir?: string;
}

/** Starts the server of a double on 127.0.0.1. */
export async function startDouble<System extends DoubleSystem>(
  options: DoubleOptions,
  build: (host: DoubleHost) => System,
): Promise<{ server: DoubleServer; system: System }> {
  let origin = '';
  const [scripts, notices, state] = [createScripts(), createNotices(options.noticeUrl), openState(options.dataDir)];
  const system = build({ origin: () => origin, scripts, notices, state });
  let callsInFlight = 0;

  async function handle(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const text = Buffer.concat((await incoming.toArray()) as Buffer[]).toString();
    const url = new URL(incoming.url ?? '/', 'http://double');
    const header = (name: string) => incoming.headers[name] as string | undefined;
    const call: WireCall = { method: incoming.method ?? '', url, text, header };
    const activity = () => ({ undelivered_notices: notices.undelivered(), calls_in_flight: callsInFlight });
    if (url.pathname.startsWith('/double/')) return send(response, controlled(system, scripts, call, activity));
    const page = pageId(url.pathname);
    if (call.method !== 'GET') state.changed();
    if (page !== undefined) return servePage(system, page, call, response);
    callsInFlight += 1;
    const reply = await system.answer(call).finally(() => (callsInFlight -= 1));
    if (reply !== never) response.writeHead(reply.status, { 'content-type': 'application/json' }).end(reply.body);
  }

  const server = createServer((incoming, response) => {
    handle(incoming, response).catch((error: unknown) => {
      process.stderr.write(`double: ${String(error instanceof Error ? error.stack : error)}\n`);
      response.destroy();
    });
  }).listen(options.port ?? 0, '127.0.0.1');
  await once(server, 'listening');
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    system,
    server: {
      origin,
      async close() {
        notices.stop();
        state.flush();
        server.close();
        server.closeAllConnections();
        await once(server, 'close');
      },
    },
  };
}

function pageId(path: string): string | undefined {
  return /^\/(?:c\/pay|authenticate|checkout)\/([\w-]+)$/.exec(path)?.[1];
}

function servePage(system: DoubleSystem, id: string, call: WireCall, response: ServerResponse): void {
  const view = system.page(id);
  if (view === undefined) return void response.writeHead(404).end();
  if (call.method !== 'POST') return void response.writeHead(200, pageHeaders).end(pageHtml(system.name, view));
  const form = new URLSearchParams(call.text);
  const card = view.isConfirmation ? 'good' : cardOfNumber(form.get('card') ?? '');
  const action = form.get('action') === 'decline' ? 'decline' : 'pay';
  const isDone = card !== undefined && system.act(id, action, card);
  response.writeHead(isDone ? 200 : 409, pageHeaders).end(pageHtml(system.name, system.page(id)!));
}

function controlled(system: DoubleSystem, scripts: Scripts, call: WireCall, activity: () => object): [number, object] {
  const [, , name = '', of = ''] = call.url.pathname.split('/');
  if (name === 'activity') return [200, activity()];
  if (call.header('authorization') !== `Bearer ${system.key}`) return [401, { problem: 'no key' }];
  if (name === 'payments') return [200, { payments: system.books() }];
  try {
    const body = JSON.parse(call.text) as Record<string, unknown>;
    if (name === 'scripts') {
      scripts.set(decodeURIComponent(of), readScript(body));
      return [200, {}];
    }
    return [404, { problem: 'no such call' }];
  } catch (error) {
    return [400, { problem: (error as Error).message }];
  }
}

function send(response: ServerResponse, [status, body]: [number, object]): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}
