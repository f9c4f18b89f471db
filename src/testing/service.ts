import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { startGuarded } from '../local/guard.ts';
import { bareEnv } from './bare-env.ts';

const program = join(import.meta.dirname, '../main.ts');
const startTimeoutMs = 30_000;

export interface TestService {
  readonly httpUrl: string;
  readonly grpcAddress: string;
  readonly pid: number;
  /** Its log so far, one JSON line an entry. */
  readonly log: readonly string[];
  /** SIGKILL. */
  kill(): Promise<void>;
  /** SIGTERM; gives the exit status. */
  stop(): Promise<number>;
}

/** The service as a process of its own, as `npm run serve` starts it, with this environment; it ends with this process. */
export async function startService(env: Record<string, string>): Promise<TestService> {
  const service = await startGuarded({
    name: 'service',
    command: process.execPath,
    args: [program],
    env: bareEnv({ PATH: process.env['PATH'] ?? '', ...env }),
  });
  const log: string[] = [];
  createInterface(service.stderr!).on('line', (line) => log.push(line));
  const tooLate = setTimeout(() => void service.kill(), startTimeoutMs);
  const firstLine = once(createInterface(service.stdout!), 'line') as Promise<[string]>;
  const started = await Promise.race([firstLine, service.ended.then(() => undefined)]);
  clearTimeout(tooLate);
  if (!started) throw new Error(`the service ended at its start: ${log.slice(-5).join('\n')}`);
  const { listening } = JSON.parse(started[0]) as { listening: { http: string; grpc: string } };
  return {
    httpUrl: listening.http,
    grpcAddress: listening.grpc,
    pid: service.pid,
    log,
    kill: async () => void (await service.kill()),
    stop: async () => (await service.stop()).status,
  };
}
