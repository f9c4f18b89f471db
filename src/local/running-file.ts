import { renameSync, rmSync, writeFileSync } from 'node:fs';
import type { DataFolder } from './data-folder.ts';

const name = 'running.json';

/** What `demo`, `token` and `billing` need to know of a running system. Holds a password: mode 600. */
export interface RunningFile {
  readonly httpUrl: string;
  /** host:port */
  readonly grpcAddress: string;
  readonly authUrl: string;
  readonly paymentSystemUrl: string;
  readonly databaseUrl: string;
  readonly natsUrl: string;
  /** Where the payment system's key and the secret of its webhooks are. */
  readonly secretsFile: string;
  readonly pids: Readonly<Record<string, number>>;
}

export function writeRunningFile(folder: DataFolder, running: RunningFile): void {
  const unfinished = folder.path(`${name}.unfinished`);
  writeFileSync(unfinished, `${JSON.stringify(running, undefined, 2)}\n`, { mode: 0o600 });
  renameSync(unfinished, folder.path(name));
}

export function removeRunningFile(folder: DataFolder): void {
  rmSync(folder.path(name), { force: true });
}
