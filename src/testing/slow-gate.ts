import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { setTimeout as pause } from 'node:timers/promises';

/** Stands between the service and the payment system: passes calls on at once, and holds the answers back. */
export interface SlowGate {
  readonly url: string;
  /** How long each answer is held back from now on. */
  holdMs: number;
  /** Calls that came in so far. */
  calls: number;
  stop(): Promise<void>;
}

/** Starts a gate to the server at `target`; it holds nothing back until told so. */
export async function startSlowGate(target: string): Promise<SlowGate> {
  const server = createServer(async (request, response) => {
    gate.calls += 1;
    const { holdMs } = gate;
    const body = await buffer(request);
    const { authorization, 'idempotency-key': key } = request.headers;
    const headers: Record<string, string> = { 'content-type': 'application/json' };
    if (authorization) headers['authorization'] = authorization;
    if (typeof key === 'string') headers['idempotency-key'] = key;
    const method = request.method!;
    const init = method === 'GET' ? { headers } : { method, headers, body: new Uint8Array(body) };
    const answer = await fetch(target + request.url!, init);
    const text = await answer.text();
    await pause(holdMs);
    response.writeHead(answer.status, { 'content-type': 'application/json' }).end(text);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const gate: SlowGate = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    holdMs: 0,
    calls: 0,
    async stop() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
  return gate;
}
