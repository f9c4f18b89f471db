import { execFile } from 'node:child_process';
import { existsSync, readdirSync, renameSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { downloadProblem, withDebianPackages } from '../../src/local/debian-packages.ts';
import { LocalError } from '../../src/local/local-error.ts';

const run = promisify(execFile);
const cacheDir = join(import.meta.dirname, '../../.local/cache');
/** The load generator and the libraries that a machine without it lacks, too. */
const packages = ['nghttp2-client', 'libnghttp2-14', 'libev4', 'libjansson4', 'libjemalloc2'];
const runTimeoutMs = 60_000;

/** A way to start h2load. */
export interface H2load {
  readonly executable: string;
  readonly env: Readonly<Record<string, string>>;
}

export interface Load {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** A file with the request's body. */
  readonly bodyFile: string;
  readonly requests: number;
  readonly connections: number;
  /** At once on one connection; 1 and HTTP/1.1 for Connect. */
  readonly streams: number;
  readonly http1: boolean;
}

/** From PATH, else unpacked from Debian's packages, as `npm start` has its nats-server. Throws LocalError. */
export async function findH2load(progress: (line: string) => void): Promise<H2load> {
  const env = { ...(process.env as Record<string, string>) };
  const folder = (env['PATH'] ?? '').split(delimiter).find((name) => existsSync(join(name, 'h2load')));
  if (folder !== undefined) return { executable: join(folder, 'h2load'), env };
  const unpacked = join(cacheDir, 'nghttp2-client');
  if (!existsSync(unpacked)) {
    progress('fetches the Debian package nghttp2-client, which needs no root');
    await withDebianPackages({ env, cacheDir }, packages, (from) => renameSync(join(from, 'usr'), unpacked)).catch(
      (cause: unknown) => {
        const line = `h2load is missing: install it (Debian: apt install nghttp2-client); fetching it failed: `;
        throw new LocalError(`${line}${downloadProblem(cause)}`, { cause });
      },
    );
  }
  const libraries = readdirSync(join(unpacked, 'lib')).map((name) => join(unpacked, 'lib', name));
  return { executable: join(unpacked, 'bin/h2load'), env: { ...env, LD_LIBRARY_PATH: libraries.join(delimiter) } };
}

/**
 * Sends the load and answers how many requests a second were answered, and how many bytes of answers came. Throws unless
 * every request was answered.
 */
export async function runLoad(h2load: H2load, load: Load): Promise<{ perS: number; dataBytes: number }> {
  const headers = Object.entries(load.headers).flatMap(([name, value]) => ['-H', `${name}: ${value}`]);
  const args = ['-n', String(load.requests), '-c', String(load.connections), '-m', String(load.streams)];
  const protocol = load.http1 ? ['--h1'] : [];
  const options = { env: h2load.env, timeout: runTimeoutMs };
  const all = [...args, ...protocol, ...headers, '-d', load.bodyFile, load.url];
  const { stdout } = await run(h2load.executable, all, options).catch((error: { stderr?: string }) => {
    // Node's own text has the whole command, and the token in it.
    throw new Error(`h2load of ${load.url} failed: ${error.stderr ?? ''}`);
  });
  const number = (pattern: RegExp) => Number(pattern.exec(stdout)?.[1]);
  const succeeded = number(/ (\d+) succeeded/);
  if (succeeded !== load.requests) throw new Error(`h2load: ${succeeded} of ${load.requests} were answered\n${stdout}`);
  return { perS: number(/, ([\d.]+) req\/s/), dataBytes: number(/\((\d+)\) data/) };
}
