import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const downloadTimeoutMs = 90_000;

export interface DebianSource {
  /** With PATH. */
  readonly env: Readonly<Record<string, string>>;
  /** Where the download's own folder is made, and removed again. */
  readonly cacheDir: string;
  /** The program that fetches; apt-get unless told. */
  readonly aptGet?: string | undefined;
}

/**
 * Fetches Debian packages, unpacks them together into a folder and gives it to `use`, with a folder beside it for what
 * is on its way; both are gone afterwards. Needs no root and installs nothing: the package lists, state and cache are
 * folders of our own. Whatever source of the machine does not answer, the packages may still be found in the others.
 */
export async function withDebianPackages(
  { env, cacheDir, aptGet = 'apt-get' }: DebianSource,
  names: readonly string[],
  use: (unpacked: string, folder: string) => void,
): Promise<void> {
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
    await run(aptGet, [...settings, '-q', 'download', ...names], options).catch((error: unknown) => {
      // Where the lists did not come, that is the reason that helps.
      throw complaints(update.stderr).length > 0 ? update : error;
    });
    const archives = readdirSync(folder).filter((name) => name.endsWith('.deb'));
    if (archives.length < names.length) throw new Error('apt-get brought no package');
    for (const archive of archives) await run('dpkg', ['-x', archive, 'unpacked'], options);
    use(join(folder, 'unpacked'), folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** One line for a person: why packages could not be fetched. */
export function downloadProblem(error: unknown): string {
  const { code, path, stderr = '', message } = error as NodeJS.ErrnoException & { stderr?: string };
  if (code === 'ENOENT') return `there is no ${path ?? 'apt-get'}`;
  return (complaints(stderr)[0] ?? message.split('\n')[0]!).replace(/^[EW]: /, '').trim();
}

function complaints(stderr: string | undefined): string[] {
  return (stderr ?? '').split('\n').filter((line) => /^[EW]: /.test(line));
}
