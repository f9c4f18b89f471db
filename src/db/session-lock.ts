import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import type { Logger } from 'pino';

const heartbeatMs = 3_000;
/** Without a heartbeat for this long the lock counts as lost. */
const fenceAfterMs = 5_000;
/** The server ends a silent session after this long: well above `fenceAfterMs`, so the old holder stops first. */
const sessionIdleMaxMs = 10_000;
const connectTimeoutMs = 2_000;
const standByMinMs = 1_000;
const standByMaxMs = 3_000;

export interface SessionLockOptions {
  /** Straight to PostgreSQL: behind a pooler in transaction mode two clients would hold "the same" lock. */
  readonly databaseUrl: string;
  /** From lock-keys.ts. */
  readonly key: readonly [number, number];
  /** For the log and for pg_stat_activity. */
  readonly name: string;
  readonly log: Logger;
}

/** Says whether the lock is still held, at the moment of asking. */
export type StillHeld = () => boolean;

export interface SessionLock {
  holds(): boolean;
  /** Waits until the work has returned, then lets go. */
  stop(): Promise<void>;
}

/**
 * Runs `work` in one process at a time, by a session advisory lock on a connection of its own; the others stand by and
 * try every 1 to 3 s. `work` returns soon after `stillHeld` answers false or `stopping` is aborted; what it throws is
 * logged and it begins anew.
 *
 * The lock saves work and does not make anything right: a stopped process goes on for a moment after it lost it, and a
 * request on the wire cannot be called back. So the work must be safe without it.
 */
export function runUnderSessionLock(
  options: SessionLockOptions,
  work: (stillHeld: StillHeld, stopping: AbortSignal) => Promise<void>,
): SessionLock {
  const stopping = new AbortController();
  let held: StillHeld | undefined;

  async function holdOnce(): Promise<void> {
    const session = await openSession(options);
    try {
      const hasIt = await tryLock(session, options.key);
      if (!hasIt) return;
      options.log.info({ lock: options.name }, 'lock taken');
      const heartbeat = startHeartbeat(session, options);
      held = heartbeat.stillHeld;
      try {
        await work(heartbeat.stillHeld, stopping.signal);
      } finally {
        held = undefined;
        await heartbeat.stop();
      }
    } finally {
      // Ending the session is what frees the lock, in every case.
      await endSession(session);
    }
  }

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      await holdOnce().catch((error: unknown) =>
        options.log.warn({ lock: options.name, err: error }, 'cannot hold the lock'),
      );
      const jitterMs = Math.random() * (standByMaxMs - standByMinMs);
      await delay(standByMinMs + jitterMs, undefined, { signal: stopping.signal }).catch(() => undefined);
    }
  }

  const running = run();
  return {
    holds: () => held?.() ?? false,
    stop: async () => {
      stopping.abort();
      await running;
    },
  };
}

async function openSession({ databaseUrl, name, log }: SessionLockOptions): Promise<Client> {
  const session = new Client({
    connectionString: databaseUrl,
    application_name: `billing-${name}`,
    connectionTimeoutMillis: connectTimeoutMs,
    query_timeout: connectTimeoutMs,
    keepAlive: true,
    options: `-c idle_session_timeout=${sessionIdleMaxMs}`,
  });
  // Unhandled, a broken connection would end the process.
  session.on('error', (error) => log.warn({ lock: name, err: error }, 'lock connection broken'));
  await session.connect();
  return session;
}

async function tryLock(session: Client, [first, second]: readonly [number, number]): Promise<boolean> {
  const { rows } = await session.query('select pg_try_advisory_lock($1, $2) as locked', [first, second]);
  return rows[0].locked as boolean;
}

function startHeartbeat(
  session: Client,
  { key, name, log }: SessionLockOptions,
): { stillHeld: StillHeld; stop(): Promise<void> } {
  const ended = new AbortController();
  session.once('error', () => ended.abort());
  let lastBeatMs = performance.now();
  // Asked of a clock that also counts while the process is stopped, not of a timer that would fire late.
  const stillHeld = () => !ended.signal.aborted && performance.now() - lastBeatMs < fenceAfterMs;

  async function beat(): Promise<void> {
    while (!ended.signal.aborted) {
      await delay(heartbeatMs, undefined, { signal: ended.signal }).catch(() => undefined);
      if (ended.signal.aborted) return;
      const sentMs = performance.now();
      const { rowCount } = await session.query(
        `select from pg_locks where locktype = 'advisory' and classid = $1 and objid = $2 and objsubid = 2
           and pid = pg_backend_pid() and granted`,
        [...key],
      );
      if (rowCount !== 1) throw new Error('the session does not hold its lock');
      lastBeatMs = sentMs;
    }
  }

  const beating = beat().catch((error: unknown) => {
    ended.abort();
    log.warn({ lock: name, err: error }, 'no heartbeat: the lock counts as lost');
  });
  return {
    stillHeld,
    stop: async () => {
      ended.abort();
      await beating;
    },
  };
}

/** Says goodbye, or just hangs up where the other side does not answer. */
async function endSession(session: Client): Promise<void> {
  const hangUp = setTimeout(() => session.connection.stream.destroy(), connectTimeoutMs);
  await session.end().catch(() => undefined);
  clearTimeout(hangUp);
}
