import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { localSecretPrefix } from '../config/config.ts';
import type { DataFolder } from './data-folder.ts';
import { LocalError } from './local-error.ts';

const secretBytes = 24;

/** Made up at the first start and kept. */
export interface Secrets {
  readonly postgresPassword: string;
  readonly paymentApiKey: string;
  readonly paymentWebhookSecret: string;
  readonly billingSecret: string;
}

/** The ports of the inner servers at the last start, taken again while they are free. */
export interface Ports {
  postgres?: number;
  nats?: number;
  auth?: number;
  paymentSystem?: number;
}

export function secretsFile(folder: DataFolder): string {
  return folder.path('secrets.json');
}

/** Reads the secrets, making them up where there are none. The file is for its owner only. */
export function keepSecrets(folder: DataFolder): Secrets {
  const kept = readJson<Partial<Secrets>>(secretsFile(folder));
  const fresh: Secrets = {
    postgresPassword: secret(),
    paymentApiKey: secret(),
    paymentWebhookSecret: secret(),
    billingSecret: secret(),
  };
  // Data of an earlier version lacks what came later.
  const secrets: Secrets = { ...fresh, ...kept };
  if (kept && Object.keys(fresh).every((name) => name in kept)) return secrets;
  writeFileSync(secretsFile(folder), `${JSON.stringify(secrets, undefined, 2)}\n`, { mode: 0o600 });
  return secrets;
}

export function keptPorts(folder: DataFolder): Ports {
  return readJson<Ports>(folder.path('ports.json')) ?? {};
}

export function keepPorts(folder: DataFolder, ports: Ports): void {
  writeFileSync(folder.path('ports.json'), `${JSON.stringify(ports)}\n`);
}

function secret(): string {
  return `${localSecretPrefix}${randomBytes(secretBytes).toString('base64url')}`;
}

function readJson<T>(path: string): T | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as T;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new LocalError(`${path} cannot be read: "npm start -- --fresh" starts anew`, { cause: error });
  }
}
