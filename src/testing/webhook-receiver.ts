import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface ReceivedWebhook {
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export interface WebhookReceiver {
  readonly url: string;
  /** In order of arrival, whatever the answer was. */
  readonly received: readonly ReceivedWebhook[];
  /** How many were waiting for an answer at once, at most. */
  concurrencyMax(): number;
  /** What it answers from now on. */
  answerWith(status: number): void;
  /** From now on keeps everybody waiting, until `release`. */
  hold(): void;
  release(): void;
  close(): Promise<void>;
}

/** A merchant's webhook address, on a free port or on a given one. */
export async function startWebhookReceiver(port = 0): Promise<WebhookReceiver> {
  const received: ReceivedWebhook[] = [];
  let status = 204;
  let gate: PromiseWithResolvers<void> | undefined;
  let present = 0;
  let most = 0;
  const server = createServer(async (request, response) => {
    present += 1;
    most = Math.max(most, present);
    const chunks = await Array.fromAsync(request as AsyncIterable<Buffer>);
    received.push({ headers: request.headers, body: Buffer.concat(chunks).toString() });
    await gate?.promise;
    present -= 1;
    response.writeHead(status).end();
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/webhooks`,
    received,
    concurrencyMax: () => most,
    answerWith: (next) => void (status = next),
    hold: () => void (gate = Promise.withResolvers()),
    release: () => gate?.resolve(),
    close: async () => {
      gate?.resolve();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
