import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startGuarded } from './guard.ts';
import { LocalError } from './local-error.ts';

const root = join(import.meta.dirname, '../..');
const folder = join(root, 'admin-web');
const output = join(folder, 'dist');
const hashFile = 'sources.sha256';
/** What the build is made of; the lock stands for the packages. */
const parts = ['admin-web/src', 'admin-web/index.html', 'admin-web/vite.config.ts', 'gen/billing', 'package-lock.json'];

/** Builds the admin panel unless its sources are those of the last build. Throws LocalError with the build's words. */
export async function buildAdmin(
  env: Readonly<Record<string, string>>,
  progress: (line: string) => void,
): Promise<void> {
  const hash = hashOfSources();
  const built = join(output, hashFile);
  if (existsSync(built) && readFileSync(built, 'utf8') === hash) return;
  progress('is built, because its sources are new');
  const startedAt = performance.now();
  // Two that build at once do not write into each other's folder; whoever comes last is served.
  const fresh = `${output}.${process.pid}`;
  const build = await startGuarded({
    name: 'build of the admin panel',
    command: process.execPath,
    args: [join(root, 'node_modules/vite/bin/vite.js'), 'build', '--outDir', fresh, '--logLevel', 'warn'],
    env: { ...env, NODE_ENV: 'production' },
    cwd: folder,
  });
  let said = '';
  for (const stream of [build.stdout!, build.stderr!]) stream.on('data', (chunk) => (said += String(chunk)));
  const { status } = await build.ended;
  try {
    if (status !== 0) throw new LocalError(`the admin panel cannot be built (status ${status}):\n${said}`);
    writeFileSync(join(fresh, hashFile), hash);
    rmSync(output, { recursive: true, force: true });
    renameSync(fresh, output);
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
  progress(`is built (${((performance.now() - startedAt) / 1_000).toFixed(1)} s)`);
}

function hashOfSources(): string {
  const hash = createHash('sha256');
  for (const part of parts) {
    const path = join(root, part);
    const files = part.includes('.') ? [''] : readdirSync(path, { recursive: true, encoding: 'utf8' }).sort();
    for (const file of files) {
      const at = join(path, file);
      if (file !== '' && !/\.\w+$/.test(file)) continue;
      hash.update(`${part}/${file}\0`).update(readFileSync(at));
    }
  }
  return hash.digest('hex');
}
