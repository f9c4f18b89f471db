import test, { type ExecutionContext } from 'ava';
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { LocalError } from './local-error.ts';
import { ensureDatabase, startPostgres, type PostgresOptions, type RunningPostgres } from './postgres.ts';

const dir = mkdtempSync(join(tmpdir(), 'postgres-'));
const env = { ...(process.env as Record<string, string>) };
const isRoot = process.getuid?.() === 0;

test.after.always(() => rmSync(dir, { recursive: true, force: true }));

function optionsIn(name: string, more: Partial<PostgresOptions> = {}): PostgresOptions {
  const folder = join(dir, name, 'postgres');
  return { folder, logFile: join(dir, name, 'postgres.log'), password: 'test', env, ...more };
}

async function query(
  postgres: RunningPostgres,
  text: string,
  database = 'postgres',
): Promise<Record<string, unknown>[]> {
  const client = new Client({ connectionString: postgres.url(database) });
  // The test ends the server under it.
  client.on('error', () => undefined);
  await client.connect();
  try {
    return (await client.query(text)).rows as Record<string, unknown>[];
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** The one line that a start fails with. */
async function refusal(t: ExecutionContext, options: PostgresOptions): Promise<string> {
  const error = await t.throwsAsync(startPostgres(options), { instanceOf: LocalError });
  const message = error?.message ?? '';
  t.false(message.includes('\n'), message);
  return message;
}

test('a second start finds the data and the port of the first, clean or killed', async (t) => {
  const options = optionsIn('again');
  const told: string[] = [];
  const first = await startPostgres({ ...options, progress: (line) => told.push(line) });
  t.deepEqual(told, ['makes a new database cluster']);
  await ensureDatabase(first, 'billing');
  await ensureDatabase(first, 'billing');
  await query(first, `create table note as select 'kept' as text`, 'billing');
  await first.stop();

  const second = await startPostgres({ ...options, preferredPort: first.port });
  t.is(second.port, first.port);
  t.deepEqual(await query(second, 'select text from note', 'billing'), [{ text: 'kept' }]);
  await query(second, `insert into note values ('before the crash')`, 'billing');
  await second.server.kill();

  // A killed server leaves its lock file; by now its process id may be another program's, such as ours.
  writeFileSync(join(options.folder, 'postmaster.pid'), `${process.pid}\n${options.folder}\n`);
  const third = await startPostgres({ ...options, preferredPort: first.port });
  t.is((await query(third, 'select text from note', 'billing')).length, 2);
  await third.stop();
});

test('what it promises: version 18, every commit on disk, UTC, UTF-8, and nobody without the password', async (t) => {
  const options = optionsIn('settings');
  const postgres = await startPostgres(options);
  const [row] = await query(
    postgres,
    `select current_setting('server_version_num')::int / 10000 as version, current_setting('fsync') as fsync,
            current_setting('synchronous_commit') as synchronous_commit, current_setting('timezone') as timezone,
            current_setting('server_encoding') as encoding, current_setting('listen_addresses') as addresses,
            current_setting('unix_socket_directories') as sockets`,
  );
  t.deepEqual(row, {
    version: 18,
    fsync: 'on',
    synchronous_commit: 'on',
    timezone: 'UTC',
    encoding: 'UTF8',
    addresses: '127.0.0.1',
    sockets: '',
  });
  const stranger = new Client({ connectionString: postgres.url('postgres').replace(':test@', ':guess@') });
  await t.throwsAsync(stranger.connect(), { code: '28P01' });
  t.is(statSync(options.folder).mode & 0o077, 0);
  await postgres.stop();

  t.regex(await refusal(t, { ...options, password: 'of another folder' }), /refuses the password: secrets\.json/);
});

test('a port that somebody else has is left to them', async (t) => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const postgres = await startPostgres(optionsIn('port', { preferredPort: port }));
  t.not(postgres.port, port);
  await postgres.stop();
  server.close();
});

test('a start that was ended half-way through making the cluster makes it anew', async (t) => {
  const options = optionsIn('half');
  mkdirSync(`${options.folder}.unfinished/base`, { recursive: true });
  const postgres = await startPostgres(options);
  t.deepEqual(await query(postgres, 'select 1 as one'), [{ one: 1 }]);
  await postgres.stop();
});

test('a broken data folder gets one clear line', async (t) => {
  const foreign = optionsIn('foreign');
  mkdirSync(foreign.folder, { recursive: true });
  writeFileSync(join(foreign.folder, 'holiday.jpg'), '');
  t.regex(await refusal(t, foreign), /foreign\/postgres is no PostgreSQL data folder/);

  const older = optionsIn('older');
  mkdirSync(older.folder, { recursive: true });
  writeFileSync(join(older.folder, 'PG_VERSION'), '17\n');
  t.regex(await refusal(t, older), /was written by PostgreSQL 17, and this is 18/);

  const damaged = optionsIn('damaged');
  await (await startPostgres(damaged)).stop();
  rmSync(join(damaged.folder, 'global/pg_control'));
  t.regex(await refusal(t, damaged), /^PostgreSQL ended at its start: .*could not open .*pg_control.*postgres\.log\)$/);
});

test('a folder that cannot be written to gets one clear line', async (t) => {
  const options = optionsIn('file');
  mkdirSync(join(dir, 'file'));
  writeFileSync(options.folder, '');
  t.regex(await refusal(t, options), /^PostgreSQL's data cannot be used: ENOTDIR: .*file\/postgres/);
});

if (isRoot)
  test('as root it says what is missing when there is no unshare', async (t) => {
    const line = await refusal(t, optionsIn('unshare', { env: { PATH: '/nowhere' } }));
    t.regex(line, /does not run as root, and needs "unshare" here, but there is none: install the package util-linux/);
  });

if (isRoot)
  test('as root it runs in a folder that only root can enter', async (t) => {
    const options = optionsIn('only-root');
    mkdirSync(join(dir, 'only-root'), { mode: 0o700 });
    t.is(statSync(dir).mode & 0o077, 0);
    const postgres = await startPostgres(options);
    t.is(statSync(join(options.folder, 'PG_VERSION')).uid, 0);
    await postgres.stop();
  });
