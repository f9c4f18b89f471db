import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findNatsServer } from '../local/find-nats-server.ts';
import { startNats, type RunningNats } from '../local/nats.ts';
import { freePort } from '../local/ports.ts';

const cacheDir = join(import.meta.dirname, '../../.local/cache');

/** A nats-server with JetStream, at one port and in one folder through all its starts; it does not outlive this process. */
export interface TestNats {
  readonly url: string;
  readonly port: number;
  /** JetStream's files are in its folder `jetstream`. */
  readonly storeDir: string;
  /** Again, after `stop` or `kill`. */
  start(): Promise<void>;
  /** SIGTERM; its data stays. */
  stop(): Promise<void>;
  /** SIGKILL; its data stays. */
  kill(): Promise<void>;
  /** SIGSTOP: it is there and does not answer. */
  pause(): void;
  resume(): void;
  /** Ends it and removes its data, unless the folder was the caller's. */
  remove(): Promise<void>;
}

export async function startTestNats(options: { storeDir?: string; port?: number } = {}): Promise<TestNats> {
  const env = { ...(process.env as Record<string, string>) };
  const executable = env['BILLING_TEST_NATS_SERVER'] ?? (await findNatsServer({ env, cacheDir, download: false }));
  const storeDir = options.storeDir ?? mkdtempSync(join(tmpdir(), 'nats-'));
  const port = options.port ?? (await freePort());
  let running: RunningNats | undefined;

  const nats: TestNats = {
    url: `nats://127.0.0.1:${port}`,
    port,
    storeDir,
    async start() {
      const logFile = join(storeDir, 'nats.log');
      running = await startNats({ executable, folder: storeDir, logFile, preferredPort: port, env });
      if (running.port === port) return;
      await running.stop();
      throw new Error(`port ${port} is taken`);
    },
    stop: async () => void (await running?.server.stop()),
    kill: async () => void (await running?.server.kill()),
    pause: () => running?.server.signal('SIGSTOP'),
    resume: () => running?.server.signal('SIGCONT'),
    async remove() {
      await nats.kill();
      if (options.storeDir === undefined) rmSync(storeDir, { recursive: true, force: true });
    },
  };
  await nats.start();
  return nats;
}
