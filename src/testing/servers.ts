import { dirname, delimiter, join } from 'node:path';
import { migrateDatabase } from '../db/migrate.ts';
import { findNatsServer } from '../local/find-nats-server.ts';
import { ensureDatabase, startPostgres } from '../local/postgres.ts';

const root = join(import.meta.dirname, '../..');
const template = 'billing_template';
/** Several replicas of the service in each of the files that run side by side, each with a pool of its own. */
const maxConnections = 400;

/** What every world stands on: PostgreSQL with a migrated template database, and a nats-server to start. */
export interface TestServers {
  /** For the processes that open worlds. */
  readonly env: Readonly<Record<string, string>>;
  stop(): Promise<void>;
}

/** Starts them in the folder, which stays the caller's. */
export async function startTestServers(dir: string, env: Record<string, string>): Promise<TestServers> {
  const natsServer = await findNatsServer({ env, cacheDir: join(root, '.local/cache'), progress: console.log });
  const postgres = await startPostgres({
    folder: join(dir, 'postgres'),
    logFile: join(dir, 'postgres.log'),
    password: 'test',
    settings: { max_connections: String(maxConnections) },
    env,
  });
  try {
    await ensureDatabase(postgres, template);
    await migrateDatabase(postgres.url(template));
  } catch (error) {
    await postgres.stop();
    throw error;
  }
  return {
    env: {
      PATH: [env['PATH'], dirname(natsServer)].join(delimiter),
      BILLING_TEST_POSTGRES_URL: postgres.url('postgres'),
      BILLING_TEST_TEMPLATE: template,
      BILLING_TEST_NATS_SERVER: natsServer,
    },
    stop: async () => void (await postgres.stop()),
  };
}
