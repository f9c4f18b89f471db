import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Client } from 'pg';
import { startGuarded, type Guarded } from './guard.ts';
import { LocalError } from './local-error.ts';
import { turnLog } from './log-file.ts';
import { freePortLike } from './ports.ts';
import { findPostgresBinaries } from './postgres-binaries.ts';
import { preparePostgresData } from './postgres-data.ts';

/** Long enough for the recovery after a crash. */
const startTimeoutMs = 60_000;
const pollMs = 30;
const startTriesMax = 20;
const retryMs = 250;
/** Another program took the port just now, or what a killed server has started is still ending: worth another try. */
const passing = /could not bind|pre-existing shared memory block/;

/** Fit for a laptop; a commit is on the disk before it is answered. */
const settings = {
  listen_addresses: '127.0.0.1',
  // A socket's path may have 107 characters only, which a checkout deep down exceeds.
  unix_socket_directories: '',
  fsync: 'on',
  synchronous_commit: 'on',
  shared_buffers: '128MB',
  max_connections: '100',
  timezone: 'UTC',
  log_timezone: 'UTC',
  logging_collector: 'off',
};

export interface PostgresOptions {
  /** The cluster; made when it is not there. */
  folder: string;
  logFile: string;
  password: string;
  /** Taken when it is free. */
  preferredPort?: number | undefined;
  /** Over the ones above: for tests that hold many connections. */
  settings?: Readonly<Record<string, string>>;
  env: Readonly<Record<string, string>>;
  progress?: (line: string) => void;
}

export interface RunningPostgres {
  readonly port: number;
  readonly server: Guarded;
  /** postgresql://… of one of its databases. */
  url(database: string): string;
  /** Fast shutdown: sessions are ended, committed work is kept. */
  stop(): Promise<void>;
}

/** Starts PostgreSQL and waits until it answers. Throws LocalError. */
export async function startPostgres(options: PostgresOptions): Promise<RunningPostgres> {
  const { folder, logFile, password, env, progress = () => undefined } = options;
  const binaries = await findPostgresBinaries(env);
  try {
    mkdirSync(dirname(folder), { recursive: true });
    mkdirSync(dirname(logFile), { recursive: true });
    await preparePostgresData({ folder, password, binaries, env, progress });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).syscall === undefined) throw error;
    throw new LocalError(`PostgreSQL's data cannot be used: ${(error as Error).message}`, { cause: error });
  }
  for (let attempt = 1; ; attempt++) {
    const port = await freePortLike(options.preferredPort);
    const url = (database: string) => `postgresql://postgres:${password}@127.0.0.1:${port}/${database}`;
    turnLog(logFile);
    const set = Object.entries({ ...settings, port: String(port), ...options.settings });
    const args = ['-D', folder, ...set.flatMap(([name, value]) => ['-c', `${name}=${value}`])];
    const [command, ...rest] = [...binaries.runAs, binaries.postgres, ...args];
    // INT is PostgreSQL's fast shutdown; TERM would wait for every session to leave by itself.
    const server = await startGuarded({
      name: 'PostgreSQL',
      command: command!,
      args: rest,
      env,
      logFile,
      stopSignal: 'INT',
    });
    try {
      await untilAnswering(server, url('postgres'), logFile);
      return { port, server, url, stop: async () => void (await server.stop()) };
    } catch (error) {
      const willPass = !server.isRunning() && server.lastLines().some((line) => passing.test(line));
      await server.stop();
      if (!willPass || attempt === startTriesMax) throw error;
      await pause(retryMs);
    }
  }
}

/** Makes a database unless it is there. */
export async function ensureDatabase(postgres: RunningPostgres, name: string): Promise<void> {
  const client = new Client({ connectionString: postgres.url('postgres') });
  // A server that is asked to stop ends the session; the query under way fails by itself.
  client.on('error', () => undefined);
  await client.connect();
  try {
    const { rowCount } = await client.query('select 1 from pg_database where datname = $1', [name]);
    if (!rowCount) await client.query(`create database ${client.escapeIdentifier(name)}`);
  } finally {
    await client.end();
  }
}

async function untilAnswering(server: Guarded, url: string, logFile: string): Promise<void> {
  const deadline = performance.now() + startTimeoutMs;
  for (;;) {
    const problem = await tryToConnect(url);
    if (problem === undefined) return;
    if (problem.code === '28P01') {
      throw new LocalError('PostgreSQL refuses the password: secrets.json is not the one that belongs to this data');
    }
    if (!server.isRunning()) {
      const why = server.lastLines().find((line) => /FATAL|PANIC/.test(line)) ?? server.lastLines().at(-1) ?? '';
      throw new LocalError(`PostgreSQL ended at its start: ${why.replace(/^.*?(FATAL|PANIC): */, '')} (${logFile})`);
    }
    if (performance.now() > deadline) {
      throw new LocalError(`PostgreSQL did not answer within ${startTimeoutMs / 1_000} s (${logFile})`);
    }
    await pause(pollMs);
  }
}

async function tryToConnect(connectionString: string): Promise<{ code?: string } | undefined> {
  const client = new Client({ connectionString, connectionTimeoutMillis: 5_000 });
  // A server that is going down ends the session after it was opened.
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.query('select 1');
    return undefined;
  } catch (error) {
    return error as { code?: string };
  } finally {
    await client.end().catch(() => undefined);
  }
}
