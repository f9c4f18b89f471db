import { execFile } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { LocalError } from './local-error.ts';

const run = promisify(execFile);
const versionTimeoutMs = 10_000;
const downloadTimeoutMs = 90_000;
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
    throw missing(`; fetching the Debian package failed: ${reason(error)}`, error);
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

/**
 * The package lists, state and cache are folders of our own, so that neither root nor the machine's lists are needed.
 * Whatever source of the machine does not answer, the package may still be found in the others.
 */
async function download({ env, cacheDir, aptGet = 'apt-get' }: NatsServerSearch): Promise<string> {
  mkdirSync(cacheDir, { recursive: true });
  const folder = mkdtempSync(join(cacheDir, 'download-'));
  const settings = [
    `Dir::State=${folder}/state`,
    `Dir::State::Lists=${folder}/lists`,
    `Dir::Cache=${folder}/cache`,
    'Dir::State::status=/var/lib/dpkg/status',
    'Debug::NoLocking=1',
    'Acquire::http::Timeout=15',
    'Acquire::https::Timeout=15',
    'Acquire::Retries=1',
    // As root apt would read and write as a user of its own, who cannot enter our folder.
    'APT::Sandbox::User=root',
  ].flatMap((setting) => ['-o', setting]);
  const options = { env, cwd: folder, timeout: downloadTimeoutMs };
  for (const name of ['state', 'lists/partial', 'cache/archives/partial']) {
    mkdirSync(join(folder, name), { recursive: true });
  }
  try {
    const update = await run(aptGet, [...settings, '-q', 'update'], options).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') throw error;
      return error as { stderr: string };
    });
    await run(aptGet, [...settings, '-q', 'download', 'nats-server'], options).catch((error: unknown) => {
      // Where the lists did not come, that is the reason that helps.
      throw complaints(update.stderr).length > 0 ? update : error;
    });
    const archive = readdirSync(folder).find((name) => name.endsWith('.deb'));
    if (!archive) throw new Error('apt-get brought no package');
    await run('dpkg', ['-x', archive, 'unpacked'], options);
    const target = join(cacheDir, 'nats-server');
    // Renamed into its place: two that fetch at once do not see each other's halves.
    copyFileSync(join(folder, 'unpacked/usr/sbin/nats-server'), join(folder, 'nats-server'));
    renameSync(join(folder, 'nats-server'), target);
    return target;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function reason(error: unknown): string {
  const { code, path, stderr = '', message } = error as NodeJS.ErrnoException & { stderr?: string };
  if (code === 'ENOENT') return `there is no ${path ?? 'apt-get'}`;
  return (complaints(stderr)[0] ?? message.split('\n')[0]!).replace(/^[EW]: /, '').trim();
}

function complaints(stderr: string | undefined): string[] {
  return (stderr ?? '').split('\n').filter((line) => /^[EW]: /.test(line));
}
