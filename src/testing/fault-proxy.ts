import { once } from 'node:events';
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What becomes of an answer on its way back; the request has always been executed by then. */
export type Fault =
  | 'reset'
  | 'silence'
  | 'bad gateway'
  | 'garbage'
  /** What the caller is told instead. */
  | { readonly rewrite: (answer: string) => string };

export interface FaultProxy {
  readonly url: string;
  /** Spoils the answers of the next calls, `count` of them. */
  spoil(fault: Fault, count?: number): void;
  /** How many calls came in so far. */
  callCount(): number;
  close(): Promise<void>;
}

/** Stands between a client and a payment system, on 127.0.0.1, and loses or changes answers, never requests. */
export async function startFaultProxy(targetUrl: string): Promise<FaultProxy> {
  const faults: Fault[] = [];
  let calls = 0;
  const server = createServer((incoming, response) => {
    calls += 1;
    forward(targetUrl, incoming).then(
      (answer) => respond(incoming, response, answer, faults.shift()),
      () => incoming.socket.destroy(),
    );
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');

  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}${pathOf(targetUrl)}`,
    spoil(fault, count = 1) {
      faults.push(...Array<Fault>(count).fill(fault));
    },
    callCount: () => calls,
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

/** The path that every call begins with; empty for none. */
const pathOf = (targetUrl: string) => new URL(targetUrl).pathname.replace(/\/$/, '');

interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

async function forward(targetUrl: string, incoming: IncomingMessage): Promise<Answer> {
  const body = Buffer.concat((await incoming.toArray()) as Buffer[]);
  const { method, headers, url } = incoming;
  const target = new URL(url ?? '/', targetUrl);
  const sent = httpRequest(target, { ...(method && { method }), headers: { ...headers, host: target.host } });
  sent.end(body);
  const [answer] = (await once(sent, 'response')) as [IncomingMessage];
  return {
    status: answer.statusCode ?? 0,
    headers: answer.headers,
    body: Buffer.concat((await answer.toArray()) as Buffer[]),
  };
}

function respond(incoming: IncomingMessage, response: ServerResponse, answer: Answer, fault: Fault | undefined): void {
  const { 'transfer-encoding': _, 'content-length': __, ...headers } = answer.headers;
  if (fault === 'reset') incoming.socket.resetAndDestroy();
  else if (fault === 'bad gateway') response.writeHead(502).end('<html>bad gateway</html>');
  else if (fault === 'garbage') response.writeHead(200).end('<html>fine</html>');
  else if (fault !== 'silence') {
    const body = fault === undefined ? answer.body : fault.rewrite(answer.body.toString());
    response.writeHead(answer.status, headers).end(body);
  }
}
