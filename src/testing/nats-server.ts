import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { waitUntil } from './wait-until.ts';

/** A nats-server with JetStream, at one port and in one folder through all its starts. */
export interface TestNatsServer {
  readonly url: string;
  readonly port: number;
  /** JetStream's files are in its folder `jetstream`. */
  readonly dataDir: string;
  start(): Promise<void>;
  /** SIGKILL; its data stays. */
  kill(): Promise<void>;
  /** SIGSTOP: it is there and does not answer. */
  pause(): void;
  resume(): void;
  /** Ends it and removes its data. */
  remove(): Promise<void>;
}

/** Starts one on a free port; it ends with this process, however that ends. */
export async function startNatsServer(): Promise<TestNatsServer> {
  const dataDir = mkdtempSync(join(tmpdir(), 'nats-test-'));
  const port = await freePort();
  let child: ChildProcess | undefined;
  let watchdog: ChildProcess | undefined;

  const kill = async (): Promise<void> => {
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
    watchdog?.kill();
  };
  const server: TestNatsServer = {
    url: `nats://127.0.0.1:${port}`,
    port,
    dataDir,
    start: async () => {
      const env = { ...process.env, PATH: `${process.env['PATH']}:/usr/local/sbin:/usr/sbin` };
      child = spawn('nats-server', ['-js', '-a', '127.0.0.1', '-p', String(port), '-sd', dataDir], {
        env,
        stdio: 'ignore',
      });
      await once(child, 'spawn');
      watchdog = spawn('sh', ['-c', `cat > /dev/null; kill -9 ${child.pid}`], {
        stdio: ['pipe', 'ignore', 'ignore'],
        detached: true,
      });
      await waitUntil('nats-server to answer', () => greets(port));
    },
    kill,
    pause: () => void child?.kill('SIGSTOP'),
    resume: () => void child?.kill('SIGCONT'),
    remove: async () => {
      await kill();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
  await server.start();
  return server;
}

function greets(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  return new Promise((resolve) => {
    socket.once('error', () => resolve(false));
    socket.once('data', () => {
      socket.destroy();
      resolve(true);
    });
  });
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
}
