import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { lockKeys } from '../db/lock-keys.ts';
import type { MikroORM } from '../db/orm.ts';
import { runUnderSessionLock, type SessionLock, type StillHeld } from '../db/session-lock.ts';
import { openBroker, type Broker } from './broker.ts';
import { StreamAheadError } from './publish-message.ts';
import { ensureNoticesStream, sendNotices } from './send-notices.ts';
import { recoverStream, sendRound } from './send-round.ts';
import { createSleeper } from './sleeper.ts';

const pollMinMs = 250;
const pollMaxMs = 2_000;
const stopMaxMs = 10_000;

export interface RelayOptions {
  /** For the lock: straight to PostgreSQL, not through a pooler in transaction mode. */
  readonly databaseUrl: string;
  readonly orm: MikroORM;
  readonly natsUrl: string;
  readonly log: Logger;
  /** 'none' is for the tests that prove the relay safe without its lock. */
  readonly lock?: 'session' | 'none';
}

export interface RelayStatus {
  /** Connected to NATS; a relay that stands by is connected, too. */
  readonly connected: boolean;
  readonly holdsLock: boolean;
  /** The last round's problem; undefined when it had none. */
  readonly lastError: string | undefined;
  /** Messages that this relay published since it was made. */
  readonly publishedCount: number;
  /** Messages that the stream refused because they did not follow the user's last one: the fence at work. */
  readonly refusedCount: number;
}

export interface Relay {
  /** Connects and relays in the background; nothing is thrown later. */
  start(): void;
  /** There may be something to send. Without it, a row is found by polling within 2 s. */
  wake(): void;
  /** Finishes the batch in flight, within 10 s, and lets go of lock and connection. */
  stop(): Promise<void>;
  status(): RelayStatus;
}

/**
 * Sends the outbox to JetStream: in order per user, at least once, marked only after the ack. One relay works at a
 * time, others stand by; safe without that.
 */
export function createRelay({ databaseUrl, orm, natsUrl, log, lock: lockKind }: RelayOptions): Relay {
  const sleeper = createSleeper();
  const counts = { published: 0, refused: 0 };
  let broker: Broker | undefined;
  let lock: SessionLock | undefined;
  let lastError: string | undefined;

  async function relay(connected: Broker, stillHeld: StillHeld, stopping: AbortSignal): Promise<void> {
    const mayGoOn = () => stillHeld() && !stopping.aborted;
    let recoveredEpoch = -1;
    let noticesEpoch = -1;
    let pollMs = pollMinMs;
    while (mayGoOn()) {
      const publishedBefore = counts.published;
      try {
        const epoch = connected.epoch();
        const ctx = { em: orm.em, manager: connected.manager(), log, counts };
        if (epoch !== recoveredEpoch) await recoverStream(ctx);
        recoveredEpoch = epoch;
        const rights = await Promise.allSettled([sendRound(ctx, mayGoOn)]);
        // Neither keeps the other waiting: rights first, and notices also when the rights have a problem.
        if (epoch !== noticesEpoch) await ensureNoticesStream(ctx.manager);
        noticesEpoch = epoch;
        await sendNotices(ctx, mayGoOn);
        if (rights[0].status === 'rejected') throw rights[0].reason;
        lastError = undefined;
      } catch (error) {
        // What a person has to look into says nothing about the stream; anything else may mean that it is gone.
        if (!(error instanceof StreamAheadError)) [recoveredEpoch, noticesEpoch] = [-1, -1];
        noteError(error);
      }
      if (counts.published > publishedBefore) pollMs = pollMinMs;
      else if (await sleeper.sleep(pollMs, stopping)) pollMs = pollMinMs;
      else pollMs = Math.min(pollMs * 2, pollMaxMs);
    }
  }

  function noteError(error: unknown): void {
    const problem = error instanceof Error ? error.message : String(error);
    // The same problem is told once, not with every round; of a lost connection the broker tells.
    if (problem !== lastError && broker?.connected())
      log.error({ err: error }, 'relay: not everything is published, trying again');
    lastError = problem;
  }

  return {
    start() {
      const connected = openBroker(natsUrl, log, () => sleeper.wake());
      broker = connected;
      const work = (stillHeld: StillHeld, stopping: AbortSignal) => relay(connected, stillHeld, stopping);
      lock =
        lockKind === 'none'
          ? runAlways(work)
          : runUnderSessionLock({ databaseUrl, key: lockKeys.relay, name: 'relay', log }, work);
    },
    wake: () => sleeper.wake(),
    async stop() {
      await Promise.race([lock?.stop(), delay(stopMaxMs, undefined, { ref: false })]);
      await broker?.stop();
    },
    status: () => ({
      connected: broker?.connected() ?? false,
      holdsLock: lock?.holds() ?? false,
      lastError,
      publishedCount: counts.published,
      refusedCount: counts.refused,
    }),
  };
}

function runAlways(work: (stillHeld: StillHeld, stopping: AbortSignal) => Promise<void>): SessionLock {
  const stopping = new AbortController();
  const running = work(() => true, stopping.signal);
  return {
    holds: () => false,
    stop: async () => {
      stopping.abort();
      await running;
    },
  };
}
