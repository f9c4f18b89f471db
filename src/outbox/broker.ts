import { jetstreamManager, type JetStreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';

const requestTimeoutMs = 5_000;
const reconnectDelayMs = 250;
const retryDelayMaxMs = 2_000;
// Two pings without an answer end a connection that only looks alive.
const pingIntervalMs = 5_000;
const pingsOutMax = 2;
const lastRoundTripMs = 500;

/** The connection to NATS: away or there, it is looked after here, for ever. */
export interface Broker {
  connected(): boolean;
  /** Counts connections and reconnections: what was known about the server before may be wrong after. */
  epoch(): number;
  /** Throws while NATS is away. */
  manager(): JetStreamManager;
  stop(): Promise<void>;
}

/** Connects in the background, and tells with every connection; nothing is thrown, whatever NATS does. */
export function openBroker(natsUrl: string, log: Logger, onConnected: () => void): Broker {
  const stopping = new AbortController();
  let connection: NatsConnection | undefined;
  let manager: JetStreamManager | undefined;
  let isConnected = false;
  let epoch = 0;

  async function connectOnce(): Promise<void> {
    const opened = await connect({
      servers: natsUrl,
      name: 'billing-relay',
      maxReconnectAttempts: -1,
      reconnectTimeWait: reconnectDelayMs,
      pingInterval: pingIntervalMs,
      maxPingOut: pingsOutMax,
      timeout: requestTimeoutMs,
    });
    connection = opened;
    manager = await jetstreamManager(opened, { checkAPI: false, timeout: requestTimeoutMs });
    isConnected = true;
    epoch++;
    onConnected();
    log.info({ natsUrl }, 'NATS connected');
    if (stopping.signal.aborted) await closeConnection(opened);
    for await (const { type } of opened.status()) {
      if (type !== 'disconnect' && type !== 'reconnect') continue;
      isConnected = type === 'reconnect';
      if (isConnected) {
        epoch++;
        onConnected();
      }
      log.warn({ natsUrl }, isConnected ? 'NATS is back' : 'NATS is away');
    }
    // It reconnects for ever by itself, so this is the end of it only when it was closed or gave up on an error.
    const error = await opened.closed();
    if (error) throw error;
  }

  async function run(): Promise<void> {
    let retryDelayMs = reconnectDelayMs;
    let lastProblem = '';
    while (!stopping.signal.aborted) {
      const epochBefore = epoch;
      try {
        await connectOnce();
      } catch (error) {
        if (String(error) !== lastProblem) log.warn({ natsUrl, err: error }, 'NATS cannot be reached, trying again');
        lastProblem = String(error);
      }
      isConnected = false;
      manager = undefined;
      retryDelayMs = epoch > epochBefore ? reconnectDelayMs : Math.min(retryDelayMs * 2, retryDelayMaxMs);
      await delay(retryDelayMs, undefined, { signal: stopping.signal }).catch(() => undefined);
    }
  }

  const running = run();
  return {
    connected: () => isConnected,
    epoch: () => epoch,
    manager: () => {
      if (!isConnected || !manager) throw new Error('NATS is away');
      return manager;
    },
    stop: async () => {
      stopping.abort();
      if (connection) await closeConnection(connection);
      await running;
    },
  };
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
