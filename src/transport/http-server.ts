import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AdminSite } from './admin-site.ts';
import { createBrowserRules } from './browser-rules.ts';
import { createConnectEntrance } from './connect-entrance.ts';
import type { Dispatcher } from './dispatch.ts';
import type { Health } from './health.ts';
import { sendError, sendJson } from './http-answer.ts';
import { readIncoming } from './http-request.ts';
import { createRestEntrance } from './http-transcoding.ts';
import { headerBytesMax } from './limits.ts';
import { httpMethodNotAllowed, pathNotFound } from './refusals.ts';
import type { Router } from './router.ts';

const headersTimeoutMs = 10_000;
const requestTimeoutMs = 10_000;
/** How often Node looks for requests that are too slow. */
const slowCheckEveryMs = 2_000;
/** Longer than a load balancer keeps an idle connection, so that it is never us who closes first. */
const keepAliveTimeoutMs = 65_000;

/** A server's certificate chain and its private key, PEM. */
export interface TlsIdentity {
  readonly certificatePem: string;
  readonly keyPem: string;
}

export interface HttpServerOptions {
  /** Without it, HTTP in clear text. */
  readonly tls: TlsIdentity | undefined;
  /** `https://shop.cinema`: pages of these origins may call, beside our own. */
  readonly corsOrigins: ReadonlySet<string>;
  /** What is under /admin; without it there is nothing. */
  readonly adminSite?: AdminSite | undefined;
}

/** The HTTP/1.1 server: Connect and gRPC-Web, REST, and the probes. Not yet listening. */
export function createHttpServer(
  router: Router,
  dispatcher: Dispatcher,
  health: Health,
  { tls, corsOrigins, adminSite }: HttpServerOptions,
): Server {
  const browserRules = createBrowserRules(corsOrigins, tls !== undefined);
  const rpcs = createConnectEntrance(router, dispatcher);
  const rest = createRestEntrance(router, dispatcher);
  const probes = new Map([
    ['/livez', async (res: ServerResponse) => sendJson(res, 200, '{"status":"ok"}')],
    ['/readyz', async (res: ServerResponse) => sendReadiness(res, health)],
  ]);

  async function handle(req: IncomingMessage, res: ServerResponse): Promise<void> {
    if (browserRules.apply(req, res)) return;
    const [path = '', query = ''] = splitOnce(req.url ?? '', '?');
    if (adminSite?.(req, res, path)) return;
    const rpc = rpcs.get(path);
    if (rpc !== undefined) return rpc(req, res);
    const probe = probes.get(path);
    if (probe !== undefined) {
      if (req.method === 'GET' || req.method === 'HEAD') return probe(res);
      res.setHeader('allow', 'GET, HEAD');
      return sendError(res, httpMethodNotAllowed(), undefined);
    }
    if (await rest(req, res, path, query)) return;
    sendError(res, pathNotFound(), undefined);
  }

  const options = {
    maxHeaderSize: headerBytesMax,
    headersTimeout: headersTimeoutMs,
    requestTimeout: requestTimeoutMs,
    connectionsCheckingInterval: slowCheckEveryMs,
    keepAliveTimeout: keepAliveTimeoutMs,
    // Two Authorization headers must be seen as two, not as the first of them.
    joinDuplicateHeaders: true,
  };
  const listener = (req: IncomingMessage, res: ServerResponse): void => {
    handle(req, res).catch((thrown: unknown) => {
      // A caller who went away in the middle of a body is nothing to report.
      if (req.destroyed && !req.complete) return;
      const incoming = readIncoming(req, 'rest');
      const error = dispatcher.refuse(thrown, req.url?.split('?')[0] ?? '', incoming);
      if (res.headersSent) res.destroy();
      else sendError(res, error, incoming.callId);
    });
  };
  if (tls === undefined) return createServer(options, listener);
  return createTlsServer({ ...options, cert: tls.certificatePem, key: tls.keyPem, minVersion: 'TLSv1.2' }, listener);
}

async function sendReadiness(res: ServerResponse, health: Health): Promise<void> {
  const { ready, checks } = await health.report();
  sendJson(res, ready ? 200 : 503, JSON.stringify({ status: ready ? 'ok' : 'unavailable', checks }));
}

function splitOnce(text: string, separator: string): string[] {
  const at = text.indexOf(separator);
  return at === -1 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}
