import { execFile } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { LocalError } from './local-error.ts';
import type { PostgresBinaries } from './postgres-binaries.ts';

const majorVersion = '18';
const initTimeoutMs = 120_000;
const predecessorMaxMs = 30_000;
const pollMs = 50;

interface PostgresData {
  /** Of the cluster; its parent has to exist. */
  folder: string;
  /** Of the superuser `postgres`; written into a new cluster. */
  password: string;
  binaries: PostgresBinaries;
  env: Readonly<Record<string, string>>;
  progress: (line: string) => void;
}

/** Makes the cluster where there is none yet, looks at it where there is one. Throws LocalError. */
export async function preparePostgresData(data: PostgresData): Promise<void> {
  const { folder } = data;
  if (existsSync(folder) && readdirSync(folder).length > 0) {
    requireOurVersion(folder);
    await waitForPredecessor(folder, data.progress);
    return;
  }
  data.progress('makes a new database cluster');
  // Under another name until it is whole: a start that is killed half-way leaves no half cluster behind.
  const unfinished = `${folder}.unfinished`;
  rmSync(unfinished, { recursive: true, force: true });
  await initdb(data, unfinished);
  rmSync(folder, { recursive: true, force: true });
  renameSync(unfinished, folder);
}

async function initdb(data: PostgresData, folder: string): Promise<void> {
  const passwordFile = `${folder}.password`;
  const { binaries, env } = data;
  const [command, ...args] = [
    ...binaries.runAs,
    binaries.initdb,
    `--pgdata=${folder}`,
    '--username=postgres',
    '--auth=scram-sha-256',
    `--pwfile=${passwordFile}`,
    '--encoding=UTF8',
    // Built into PostgreSQL 17 and later: the same order everywhere, whatever locales the machine has.
    '--locale-provider=builtin',
    '--builtin-locale=C.UTF-8',
    '--locale=C',
  ];
  mkdirSync(folder, { mode: 0o700 });
  writeFileSync(passwordFile, `${data.password}\n`, { mode: 0o600 });
  try {
    await promisify(execFile)(command!, args, { env, timeout: initTimeoutMs });
  } catch (error) {
    const { stderr = '', message } = error as { stderr?: string; message: string };
    const why = stderr.split('\n').find((line) => line.includes('error:')) ?? message.split('\n')[0]!;
    throw new LocalError(`PostgreSQL could not make its database cluster in ${folder}: ${why.trim()}`, {
      cause: error,
    });
  } finally {
    rmSync(passwordFile, { force: true });
  }
}

function requireOurVersion(folder: string): void {
  const file = join(folder, 'PG_VERSION');
  if (!existsSync(file)) {
    throw new LocalError(`${folder} is no PostgreSQL data folder (it has no PG_VERSION): "npm start -- --fresh" anew`);
  }
  const version = readFileSync(file, 'utf8').trim();
  if (version !== majorVersion) {
    throw new LocalError(
      `${folder} was written by PostgreSQL ${version}, and this is ${majorVersion}: "npm start -- --fresh" starts anew`,
    );
  }
}

/**
 * After a start that was killed its server may still be writing its last checkpoint: waits for it. A lock file whose
 * process is another program by now, as after a restart of the machine, is removed; PostgreSQL would refuse to start.
 */
async function waitForPredecessor(folder: string, progress: (line: string) => void): Promise<void> {
  const lockFile = join(folder, 'postmaster.pid');
  const deadline = performance.now() + predecessorMaxMs;
  let told = false;
  while (existsSync(lockFile)) {
    const pid = Number.parseInt(readFileSync(lockFile, 'utf8'), 10);
    const holder = whatHolds(folder, pid);
    if (holder === 'unknown') return;
    if (holder === 'another program') return rmSync(lockFile, { force: true });
    if (performance.now() > deadline) {
      throw new LocalError(`another PostgreSQL (process ${pid}) is running on ${folder}: stop it first`);
    }
    if (!told) progress('waits for the server of an earlier start to end');
    told = true;
    await pause(pollMs);
  }
}

/** A PostgreSQL server works in its data folder. What cannot be told here PostgreSQL finds out for itself. */
function whatHolds(folder: string, pid: number): 'our server' | 'another program' | 'unknown' {
  try {
    const isDead = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .startsWith('Z');
    if (isDead) return 'another program';
    return readlinkSync(`/proc/${pid}/cwd`) === realpathSync(folder) ? 'our server' : 'another program';
  } catch {
    return 'unknown';
  }
}
