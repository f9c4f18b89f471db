import type { Server } from '@grpc/grpc-js';
import { HealthImplementation } from 'grpc-health-check';
import type { Logger } from 'pino';

/** What must work before this process should get calls: each check's name, and whether it holds. */
export type Readiness = () => Promise<Record<string, boolean>>;

export interface ReadinessReport {
  readonly ready: boolean;
  readonly checks: Record<string, boolean>;
}

export interface Health {
  /** Asks the checks now; a check that takes too long or fails counts as false. */
  report(): Promise<ReadinessReport>;
  /** Adds grpc.health.v1.Health, which answers for the whole server (the empty name) and for each service. */
  addToGrpc(server: Server): void;
  /** Keeps what gRPC clients are told up to date, until `stop`. Resolves after the first look. */
  watch(): Promise<void>;
  /** Not ready from now on, whatever the checks say. */
  stop(): void;
}

const pollEveryMs = 1_000;
const checkTimeoutMs = 2_000;

/** `serviceNames` are the services that the server has beside health. */
export function createHealth(readiness: Readiness, serviceNames: readonly string[], log: Logger): Health {
  const names = ['', ...serviceNames];
  const grpcHealth = new HealthImplementation(Object.fromEntries(names.map((name) => [name, 'NOT_SERVING'])));
  let stopped = false;
  let wasReady: boolean | undefined;
  let timer: NodeJS.Timeout | undefined;
  /** One look at a time, shared by all who ask: a probe storm must not become a query storm. */
  let underWay: Promise<ReadinessReport> | undefined;

  async function look(): Promise<ReadinessReport> {
    const timeout = Promise.withResolvers<Record<string, boolean>>();
    const timeoutTimer = setTimeout(() => timeout.resolve({ checks_in_time: false }), checkTimeoutMs);
    try {
      const checks = await Promise.race([readiness(), timeout.promise]);
      return { ready: Object.values(checks).every(Boolean), checks };
    } catch (err) {
      log.warn({ err }, 'readiness check failed');
      return { ready: false, checks: { checks_completed: false } };
    } finally {
      clearTimeout(timeoutTimer);
    }
  }

  async function report(): Promise<ReadinessReport> {
    if (stopped) return { ready: false, checks: { accepting_calls: false } };
    underWay ??= look().finally(() => (underWay = undefined));
    const found = await underWay;
    return stopped ? { ready: false, checks: { ...found.checks, accepting_calls: false } } : found;
  }

  function tell(ready: boolean, checks: Record<string, boolean>): void {
    if (ready === wasReady) return;
    wasReady = ready;
    log.info({ checks }, ready ? 'ready' : 'not ready');
    for (const name of names) grpcHealth.setStatus(name, ready ? 'SERVING' : 'NOT_SERVING');
  }

  async function poll(): Promise<void> {
    const { ready, checks } = await report();
    tell(ready, checks);
    if (!stopped) timer = setTimeout(() => void poll(), pollEveryMs).unref();
  }

  return {
    report,
    addToGrpc: (server) => grpcHealth.addToServer(server),
    watch: poll,
    stop() {
      stopped = true;
      clearTimeout(timer);
      tell(false, { accepting_calls: false });
    },
  };
}
