import { mkdirSync } from 'node:fs';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createAuthServer } from './auth-server.ts';
import { openAuthStore } from './auth-store.ts';
import { consumeEntitlement } from './consume-entitlements.ts';
import { followStream } from './follow-stream.ts';
import { openSigningKey } from './signing-key.ts';

const { AUTH_DOUBLE_PORT, AUTH_DOUBLE_DATA_DIR, AUTH_DOUBLE_NATS_URL } = process.env;

const log = (line: string): void => void process.stderr.write(`auth-double: ${line}\n`);

async function main(): Promise<void> {
  const port = Number(AUTH_DOUBLE_PORT || 0);
  if (!Number.isInteger(port) || port < 0 || port > 65_535) throw new Error('AUTH_DOUBLE_PORT is not a port');
  if (!AUTH_DOUBLE_DATA_DIR) throw new Error('AUTH_DOUBLE_DATA_DIR is not set');
  if (!AUTH_DOUBLE_NATS_URL) throw new Error('AUTH_DOUBLE_NATS_URL is not set');

  mkdirSync(AUTH_DOUBLE_DATA_DIR, { recursive: true, mode: 0o700 });
  const store = openAuthStore(AUTH_DOUBLE_DATA_DIR);
  const server = createAuthServer(store, openSigningKey(AUTH_DOUBLE_DATA_DIR), log);
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  const follower = followStream(AUTH_DOUBLE_NATS_URL, (message) => consumeEntitlement(store, message, log), log);

  let stopping = false;
  const stop = async (): Promise<void> => {
    if (stopping) return;
    stopping = true;
    server.close();
    server.closeAllConnections();
    await follower.stop();
    store.close();
    if (process.connected) process.disconnect?.();
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  // Started by another Node process: when that one is gone, however it ended, this one ends too.
  process.on('disconnect', stop);

  const { port: listening } = server.address() as AddressInfo;
  process.stdout.write(`${JSON.stringify({ listening: `http://127.0.0.1:${listening}` })}\n`);
}

main().catch((error: unknown) => {
  log(error instanceof Error ? error.message : String(error));
  process.exit(1);
});
