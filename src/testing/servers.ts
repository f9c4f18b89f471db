import { dirname, delimiter, join } from 'node:path';
import { migrateDatabase } from '../db/migrate.ts';
import { findNatsServer } from '../local/find-nats-server.ts';
import { ensureDatabase, startPostgres, type RunningPostgres } from '../local/postgres.ts';
import { makeMemoryFolder } from './memory-folder.ts';

const root = join(import.meta.dirname, '../..');
const template = 'billing_template';
const settings = {
  // Several replicas of the service in each of the files that run side by side, each with a pool of its own.
  max_connections: '400',
  // Nobody pulls the plug on a test, and a process that is killed loses nothing by it. What is durable is tested on
  // servers of the tests' own. Without it a database that is dropped waits a second for the disk.
  fsync: 'off',
  full_page_writes: 'off',
  // It lies in memory: no more than it needs.
  max_wal_size: '128MB',
};

/** What every world stands on: PostgreSQL with a migrated template database, and a nats-server to start. */
export interface TestServers {
  /** For the processes that open worlds. */
  readonly env: Readonly<Record<string, string>>;
  stop(): Promise<void>;
}

/** Starts them in the folder, which stays the caller's. */
export async function startTestServers(dir: string, env: Record<string, string>): Promise<TestServers> {
  const natsServer = await findNatsServer({ env, cacheDir: join(root, '.local/cache'), progress: console.log });
  const memory = makeMemoryFolder(join(dir, 'memory'));
  let postgres: RunningPostgres | undefined;
  const stop = async () => {
    await postgres?.stop();
    await memory.remove();
  };
  try {
    postgres = await startPostgres({
      folder: join(dir, 'memory/postgres'),
      logFile: join(dir, 'postgres.log'),
      password: 'test',
      settings,
      env,
    });
    await ensureDatabase(postgres, template);
    await migrateDatabase(postgres.url(template));
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    env: {
      PATH: [env['PATH'], dirname(natsServer)].join(delimiter),
      BILLING_TEST_POSTGRES_URL: postgres.url('postgres'),
      BILLING_TEST_TEMPLATE: template,
      BILLING_TEST_NATS_SERVER: natsServer,
    },
    stop,
  };
}
