import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const program = join(import.meta.dirname, '../main.ts');
const startTimeoutMs = 30_000;

export interface TestService {
  readonly httpUrl: string;
  readonly grpcAddress: string;
  readonly pid: number;
  /** Its log so far, one JSON line an entry. */
  readonly log: readonly string[];
  kill(): Promise<void>;
  stop(): Promise<number | null>;
}

/** The service as a process of its own, as `npm run serve` starts it, with exactly this environment. */
export async function startService(env: Record<string, string>): Promise<TestService> {
  const child = spawn(process.execPath, [program], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const log: string[] = [];
  createInterface(child.stderr!).on('line', (line) => log.push(line));
  const exited = once(child, 'exit');
  const tooLate = setTimeout(() => child.kill('SIGKILL'), startTimeoutMs);
  const firstLine = once(createInterface(child.stdout!), 'line') as Promise<[string]>;
  const started = await Promise.race([firstLine, exited.then(() => undefined)]);
  clearTimeout(tooLate);
  if (!started) throw new Error(`the service ended at its start: ${log.slice(-5).join('\n')}`);
  const { listening } = JSON.parse(started[0]) as { listening: { http: string; grpc: string } };
  process.once('exit', () => child.kill('SIGKILL'));
  return {
    httpUrl: listening.http,
    grpcAddress: listening.grpc,
    pid: child.pid!,
    log,
    kill: () => end(child, 'SIGKILL').then(() => undefined),
    stop: () => end(child, 'SIGTERM'),
  };
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) {
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  }
  return child.exitCode;
}
