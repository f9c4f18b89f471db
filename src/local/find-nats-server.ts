import { execFile } from 'node:child_process';
import { copyFileSync, existsSync, renameSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { downloadProblem, withDebianPackages } from './debian-packages.ts';
import { LocalError } from './local-error.ts';

const run = promisify(execFile);
const versionTimeoutMs = 10_000;
/** Debian puts it where only root's PATH leads. */
const usualPlaces = ['/usr/sbin', '/usr/local/sbin', '/usr/local/bin', '/opt/homebrew/bin'];
const oldestUsable = [2, 9] as const;

export interface NatsServerSearch {
  /** With PATH, which is searched first. */
  env: Readonly<Record<string, string>>;
  /** Where a copy from an earlier download is looked for, and a new one is put. */
  cacheDir: string;
  /** Whether to fetch the Debian package when there is none; true unless told. */
  download?: boolean;
  progress?: (line: string) => void;
  /** Folders besides PATH; where Debian and others put it unless told. */
  places?: readonly string[];
  /** The program that fetches the package. */
  aptGet?: string;
}

/** Answers the path of a nats-server that is new enough, fetching one when there is none. Throws LocalError. */
export async function findNatsServer(search: NatsServerSearch): Promise<string> {
  const { env, cacheDir, places = usualPlaces, progress = () => undefined } = search;
  const folders = [...(env['PATH'] ?? '').split(delimiter).filter(Boolean), ...places, cacheDir];
  for (const folder of new Set(folders)) {
    const path = join(folder, 'nats-server');
    if (existsSync(path) && (await isUsable(path, env))) return path;
  }
  if (search.download === false) throw missing('');
  progress('fetches the Debian package nats-server, which needs no root');
  const unpacked = await download(search).catch((error: unknown) => {
    throw missing(`; fetching the Debian package failed: ${downloadProblem(error)}`, error);
  });
  if (!(await isUsable(unpacked, env))) throw missing('; the one of the Debian package does not run here');
  return unpacked;
}

function missing(more: string, cause?: unknown): LocalError {
  const [major, minor] = oldestUsable;
  return new LocalError(
    `nats-server is missing: install it (Debian: apt install nats-server; macOS: brew install nats-server), ` +
      `${major}.${minor} or newer${more}`,
    { cause },
  );
}

async function isUsable(path: string, env: Readonly<Record<string, string>>): Promise<boolean> {
  try {
    const { stdout } = await run(path, ['--version'], { env, timeout: versionTimeoutMs });
    const [major, minor] = (/v?(\d+)\.(\d+)/.exec(stdout) ?? []).slice(1).map(Number);
    if (major === undefined || minor === undefined) return false;
    return major > oldestUsable[0] || (major === oldestUsable[0] && minor >= oldestUsable[1]);
  } catch {
    return false;
  }
}

async function download({ env, cacheDir, aptGet }: NatsServerSearch): Promise<string> {
  const target = join(cacheDir, 'nats-server');
  await withDebianPackages({ env, cacheDir, aptGet }, ['nats-server'], (unpacked, folder) => {
    // Renamed into its place: two that fetch at once do not see each other's halves.
    copyFileSync(join(unpacked, 'usr/sbin/nats-server'), join(folder, 'nats-server'));
    renameSync(join(folder, 'nats-server'), target);
  });
  return target;
}
