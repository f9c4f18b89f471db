import { mkdirSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { startGuarded, type Guarded } from './guard.ts';
import { LocalError } from './local-error.ts';
import { turnLog } from './log-file.ts';
import { freePortLike } from './ports.ts';

const startTimeoutMs = 30_000;
const probeTimeoutMs = 2_000;
const pollMs = 20;
const bindTriesMax = 3;

export interface NatsOptions {
  /** The path of nats-server. */
  executable: string;
  /** JetStream's files and the configuration. */
  folder: string;
  logFile: string;
  /** Taken when it is free. */
  preferredPort?: number | undefined;
  env: Readonly<Record<string, string>>;
}

export interface RunningNats {
  readonly port: number;
  readonly url: string;
  readonly server: Guarded;
  stop(): Promise<void>;
}

/** Starts nats-server with JetStream on 127.0.0.1 and waits until it answers. Throws LocalError. */
export async function startNats(options: NatsOptions): Promise<RunningNats> {
  const { executable, folder, logFile, env } = options;
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  mkdirSync(dirname(logFile), { recursive: true });
  for (let attempt = 1; ; attempt++) {
    const port = await freePortLike(options.preferredPort);
    const configFile = join(folder, 'nats-server.conf');
    writeFileSync(configFile, configuration(port, folder), { mode: 0o600 });
    turnLog(logFile);
    const server = await startGuarded({ name: 'NATS', command: executable, args: ['-c', configFile], env, logFile });
    try {
      await untilAnswering(server, port, logFile);
      return { port, url: `nats://127.0.0.1:${port}`, server, stop: async () => void (await server.stop()) };
    } catch (error) {
      const portTaken =
        !server.isRunning() && server.lastLines().some((line) => line.includes('address already in use'));
      await server.stop();
      if (!portTaken || attempt === bindTriesMax) throw error;
    }
  }
}

function configuration(port: number, folder: string): string {
  return [
    `listen: "127.0.0.1:${port}"`,
    `jetstream { store_dir: ${JSON.stringify(folder)}, max_memory_store: 64MB }`,
    '',
  ].join('\n');
}

async function untilAnswering(server: Guarded, port: number, logFile: string): Promise<void> {
  const deadline = performance.now() + startTimeoutMs;
  for (;;) {
    const greeting = await readGreeting(port);
    if (greeting?.includes('"jetstream":true')) return;
    if (!server.isRunning()) {
      const lines = server.lastLines();
      const why = lines.find((line) => /\[FTL\]|\[ERR\]/.test(line)) ?? lines.at(-1) ?? '';
      throw new LocalError(`NATS ended at its start: ${why.replace(/^.*\[(FTL|ERR)\] */, '')} (${logFile})`);
    }
    if (performance.now() > deadline) {
      throw new LocalError(`NATS did not answer within ${startTimeoutMs / 1_000} s (${logFile})`);
    }
    await pause(pollMs);
  }
}

/** A NATS server greets whoever connects with one line of what it offers. */
function readGreeting(port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1', timeout: probeTimeoutMs });
    const done = (text?: string) => {
      socket.destroy();
      resolve(text);
    };
    socket.once('data', (data) => done(data.toString()));
    socket.once('timeout', () => done());
    socket.once('error', () => done());
    socket.once('close', () => done());
  });
}
