import { AckPolicy, DeliverPolicy, jetstreamManager, type JsMsg } from '@nats-io/jetstream';
import { connect, nanos, type NatsConnection } from '@nats-io/transport-node';
import { setTimeout as delay } from 'node:timers/promises';

const stream = 'BILLING_ENTITLEMENTS';
const consumer = 'auth';

const ackPendingMax = 256;
// A full buffer takes about a second at worst: far above it, and yet a consumer that was killed soon gets again what
// it had not finished.
const ackWaitMs = 5_000;
const pullExpiresMs = 2_000;
const idleHeartbeatMs = 1_000;
const pingIntervalMs = 5_000;
const requestTimeoutMs = 2_000;
const reconnectDelayMs = 500;
const lastRoundTripMs = 500;
const retryDelayMinMs = 100;
const retryDelayMaxMs = 2_000;

export interface StreamFollower {
  /** Finishes what has arrived and closes the connection. */
  stop(): Promise<void>;
}

/**
 * Hands every message of billing's entitlement stream to `handle`, in order, from the durable pull consumer `auth`.
 * It begins anew, with growing pauses and for ever, whatever is missing: the server, the stream (billing's relay makes
 * it), the consumer (made here, and again when it is lost; a new one starts at the stream's first message).
 */
export function followStream(
  natsUrl: string,
  handle: (message: JsMsg) => Promise<void>,
  log: (line: string) => void,
): StreamFollower {
  const stopping = new AbortController();
  let connection: NatsConnection | undefined;

  async function run(): Promise<void> {
    let retryDelayMs = retryDelayMinMs;
    let lastProblem = '';
    while (!stopping.signal.aborted) {
      try {
        if (!connection || connection.isClosed()) connection = await openConnection(natsUrl);
        await consume(connection, handle, stopping.signal, () => {
          retryDelayMs = retryDelayMinMs;
          lastProblem = '';
          log(`consuming ${stream} as ${consumer}`);
        });
      } catch (error) {
        // The same problem is told once, not with every try.
        if (String(error) !== lastProblem) log(`waiting for ${stream} at ${natsUrl}: ${String(error)}`);
        lastProblem = String(error);
      }
      await delay(retryDelayMs, undefined, { signal: stopping.signal }).catch(() => undefined);
      retryDelayMs = Math.min(retryDelayMs * 2, retryDelayMaxMs);
    }
    if (connection) await closeConnection(connection);
  }

  const running = run();
  return {
    stop: async () => {
      stopping.abort();
      await running;
    },
  };
}

function openConnection(natsUrl: string): Promise<NatsConnection> {
  return connect({
    servers: natsUrl,
    name: 'auth-double',
    maxReconnectAttempts: -1,
    reconnectTimeWait: reconnectDelayMs,
    pingInterval: pingIntervalMs,
    timeout: requestTimeoutMs,
  });
}

/**
 * A round trip first: closing a connection that the server has just ended makes the client write to the ended socket,
 * whose error nobody hears (it ends the process).
 */
async function closeConnection(connection: NatsConnection): Promise<void> {
  const answered = connection.flush().catch(() => undefined);
  await Promise.race([answered, delay(lastRoundTripMs, undefined, { ref: false })]);
  await connection.close();
}

/** Returns when stopped; throws when the stream, the consumer or the connection is gone. */
async function consume(
  connection: NatsConnection,
  handle: (message: JsMsg) => Promise<void>,
  stopping: AbortSignal,
  onConsuming: () => void,
): Promise<void> {
  const manager = await jetstreamManager(connection, { checkAPI: false, timeout: requestTimeoutMs });
  await manager.consumers.add(stream, {
    durable_name: consumer,
    ack_policy: AckPolicy.Explicit,
    deliver_policy: DeliverPolicy.All,
    ack_wait: nanos(ackWaitMs),
    max_ack_pending: ackPendingMax,
    max_deliver: -1,
  });
  const pull = await manager.jetstream().consumers.get(stream, consumer);
  const messages = await pull.consume({
    max_messages: ackPendingMax,
    expires: pullExpiresMs,
    idle_heartbeat: idleHeartbeatMs,
    abort_on_missing_resource: true,
  });
  const unfinished = new Set<Promise<void>>();
  const close = () => void messages.close();
  stopping.addEventListener('abort', close, { once: true });
  if (stopping.aborted) close();
  try {
    onConsuming();
    for await (const message of messages) {
      const finished = handle(message).finally(() => unfinished.delete(finished));
      unfinished.add(finished);
    }
  } finally {
    stopping.removeEventListener('abort', close);
    await Promise.all(unfinished);
  }
}
