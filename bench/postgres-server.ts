import { Client } from 'pg';
import { startPostgres, type RunningPostgres } from '../src/local/postgres.ts';

/** The same for every side. Checkpoints come between rounds, not in the middle of one. */
const tuned = {
  shared_buffers: '1GB',
  max_wal_size: '8GB',
  checkpoint_timeout: '1h',
  autovacuum: 'off',
  max_connections: '100',
};
const shown = ['server_version', 'fsync', 'synchronous_commit', 'shared_buffers', 'max_wal_size', 'autovacuum'];

/** Starts PostgreSQL for a bench, as durable as in production. */
export async function startBenchPostgres(dir: string): Promise<RunningPostgres> {
  const env = { ...(process.env as Record<string, string>) };
  const folder = `${dir}/postgres`;
  return startPostgres({ folder, logFile: `${dir}/postgres.log`, password: 'bench', settings: tuned, env });
}

/** What the server itself says of the settings that matter, for the report. */
export async function serverSettings(url: string): Promise<Record<string, string>> {
  return withClient(url, async (client) => {
    const { rows } = await client.query<{ name: string; setting: string }>(
      `select name, current_setting(name) as setting from pg_settings where name = any($1) order by name`,
      [shown],
    );
    return { PostgreSQL: rows.map(({ name, setting }) => `${name} ${setting}`).join(', ') };
  });
}

/** Runs the work on a connection of its own. */
export async function withClient<T>(url: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** A fresh copy of a database, everything on disk; what was there under the name is dropped. */
export async function cloneDatabase(serverUrl: string, template: string, name: string): Promise<void> {
  await withClient(serverUrl, async (client) => {
    await client.query(`drop database if exists ${name} with (force)`);
    await client.query(`create database ${name} template ${template} strategy file_copy`);
    await client.query('checkpoint');
  });
}
