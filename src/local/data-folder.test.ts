import test from 'ava';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openDataFolder } from './data-folder.ts';
import { keepPorts, keepSecrets, keptPorts, secretsFile } from './kept-facts.ts';
import { LocalError } from './local-error.ts';

const dir = mkdtempSync(join(tmpdir(), 'data-folder-'));

test.after.always(() => rmSync(dir, { recursive: true, force: true }));

test('a new folder is for its owner only, and is known again', (t) => {
  const path = join(dir, 'new/below');
  openDataFolder(path).release();
  t.is(statSync(path).mode & 0o077, 0);
  t.notThrows(() => openDataFolder(path).release());
});

test('a folder with the files of somebody else is neither written to nor emptied', (t) => {
  const path = join(dir, 'home');
  mkdirSync(path);
  writeFileSync(join(path, 'thesis.tex'), 'years of work');
  t.throws(() => openDataFolder(path), {
    instanceOf: LocalError,
    message: /home has other files in it: set BILLING_DATA_DIR/,
  });
  t.deepEqual(readdirSync(path), ['thesis.tex']);
});

test('a path that cannot be a folder gets one clear line', (t) => {
  const path = join(dir, 'file');
  writeFileSync(path, '');
  for (const wrong of [path, join(path, 'below')]) {
    const error = t.throws(() => openDataFolder(wrong), { instanceOf: LocalError });
    t.regex(error?.message ?? '', /^the data folder .* cannot be used: [^\n]*$/);
  }
});

test('emptying takes all data and keeps a program that was fetched once', (t) => {
  const folder = openDataFolder(join(dir, 'emptied'));
  mkdirSync(folder.path('postgres', 'base'), { recursive: true });
  mkdirSync(folder.cacheDir);
  writeFileSync(join(folder.cacheDir, 'nats-server'), '');
  const before = keepSecrets(folder);
  folder.empty();
  t.false(existsSync(folder.path('postgres')));
  t.true(existsSync(join(folder.cacheDir, 'nats-server')));
  t.notDeepEqual(keepSecrets(folder), before);
  folder.release();
  t.notThrows(() => openDataFolder(folder.dir).release());
});

test('two starts never share a folder, and one that was killed does not keep it', async (t) => {
  const path = join(dir, 'shared');
  const module = JSON.stringify(join(import.meta.dirname, 'data-folder.ts'));
  const script = `const { openDataFolder } = await import(${module});
    globalThis.folder = openDataFolder(${JSON.stringify(path)}); console.log('has it'); setInterval(() => {}, 1000);`;
  const other = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => other.kill('SIGKILL'));
  await once(other.stdout, 'data');
  t.throws(() => openDataFolder(path), { instanceOf: LocalError, message: /shared is in use: another "npm start"/ });
  other.kill('SIGKILL');
  await once(other, 'exit');
  t.notThrows(() => openDataFolder(path).release());
});

test('secrets and ports are made up once and kept; secrets are for their owner only', (t) => {
  const folder = openDataFolder(join(dir, 'kept'));
  const secrets = keepSecrets(folder);
  t.deepEqual(keepSecrets(folder), secrets);
  t.is(new Set(Object.values(secrets)).size, 4);
  for (const secret of Object.values(secrets)) t.regex(secret, /^local-default-[\w-]{32}$/);
  t.is(statSync(secretsFile(folder)).mode & 0o777, 0o600);

  t.deepEqual(keptPorts(folder), {});
  keepPorts(folder, { postgres: 40_001 });
  t.deepEqual(keptPorts(folder), { postgres: 40_001 });
  writeFileSync(secretsFile(folder), readFileSync(secretsFile(folder), 'utf8').slice(0, 20));
  t.throws(() => keepSecrets(folder), { instanceOf: LocalError, message: /secrets\.json cannot be read/ });
  folder.release();
});
