import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';

/** Stands between the payment system and the service and passes notices on byte for byte, unless it is closed. */
export interface WebhookGate {
  readonly url: string;
  /** Where notices go. */
  target: string;
  /** Closed, it answers 503, and the payment system keeps the notice for later. */
  open: boolean;
  stop(): Promise<void>;
}

/** Starts an open gate without a target. */
export async function startWebhookGate(): Promise<WebhookGate> {
  const server = createServer(async (request, response) => {
    const body = await buffer(request);
    if (!gate.open || gate.target === '') {
      response.writeHead(503).end();
      return;
    }
    const headers = { ...request.headers } as Record<string, string>;
    for (const name of ['host', 'connection', 'content-length', 'transfer-encoding', 'keep-alive'])
      delete headers[name];
    try {
      const answer = await fetch(gate.target, { method: 'POST', headers, body: new Uint8Array(body) });
      response.writeHead(answer.status).end(await answer.text());
    } catch {
      response.writeHead(502).end();
    }
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const gate: WebhookGate = {
    url: `http://127.0.0.1:${port}/`,
    target: '',
    open: true,
    async stop() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
  return gate;
}
