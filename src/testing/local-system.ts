import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RunningFile } from '../local/running-file.ts';
import { waitUntil } from './wait-until.ts';

const program = join(import.meta.dirname, '../local/start.ts');
const readyMaxMs = 90_000;

export interface LocalSystem extends RunningFile {
  readonly dataDir: string;
  /** The payment system's own answer to a GET. */
  ledger(path: string): Promise<unknown>;
  /** Has the payment system do something that the service did not ask for, such as a dispute. Throws where it refuses. */
  tellPaymentSystem(path: string, body: object): Promise<unknown>;
  stop(): Promise<void>;
}

/** `npm start` in a folder of its own on free ports, with its demo data; it ends with this process. */
export async function startLocalSystem(more: Record<string, string> = {}): Promise<LocalSystem> {
  const dataDir = mkdtempSync(join(tmpdir(), 'system-'));
  const { npm_lifecycle_event: _, ...env } = process.env;
  const child = spawn(process.execPath, [program], {
    env: { ...env, ...more, BILLING_DATA_DIR: dataDir, BILLING_PORT: '0', BILLING_GRPC_PORT: '0' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  process.once('exit', () => child.kill('SIGKILL'));
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (said += String(chunk)));
  await waitUntil('the system is ready', () => /^Ready\./m.test(said) || child.exitCode !== null, readyMaxMs);
  if (child.exitCode !== null) throw new Error(`the system ended at its start: ${said}`);
  const running = JSON.parse(readFileSync(join(dataDir, 'running.json'), 'utf8')) as RunningFile;
  const { paymentApiKey } = JSON.parse(readFileSync(running.secretsFile, 'utf8')) as { paymentApiKey: string };
  return {
    ...running,
    dataDir,
    async ledger(path) {
      const headers = { authorization: `Bearer ${paymentApiKey}` };
      return (await fetch(`${running.paymentSystemUrl}${path}`, { headers })).json();
    },
    async tellPaymentSystem(path, body) {
      const headers = { authorization: `Bearer ${paymentApiKey}`, 'idempotency-key': randomUUID() };
      const request = { method: 'POST', headers, body: JSON.stringify(body) };
      const answer = await fetch(`${running.paymentSystemUrl}${path}`, request);
      if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
      return answer.json();
    },
    async stop() {
      child.kill('SIGTERM');
      if (child.exitCode === null) await once(child, 'close');
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}
