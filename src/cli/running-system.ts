import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadLocalConfig } from '../config/local-config.ts';

/** Where the running `npm start` is to be found, as it wrote it into its data folder. */
export interface RunningSystem {
  readonly httpUrl: string;
  readonly grpcAddress: string;
  readonly authUrl: string;
  readonly paymentSystemUrl: string;
  readonly databaseUrl: string;
  readonly natsUrl: string;
  /** Where the payment system's key and the secret of its webhooks are. */
  readonly secretsFile: string;
}

/** A problem that one line explains to whoever ran a command. */
export class Refusal extends Error {}

/** Finds the running system through BILLING_DATA_DIR. Throws a Refusal when none is there. */
export function findRunningSystem(): RunningSystem {
  const path = join(loadLocalConfig().dataDir, 'running.json');
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as RunningSystem;
  } catch (cause) {
    throw new Refusal(`nothing is running here (there is no ${path}): start it with "npm start"`, { cause });
  }
}
