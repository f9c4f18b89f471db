import test from 'ava';
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findNatsServer } from './find-nats-server.ts';
import { LocalError } from './local-error.ts';

const dir = mkdtempSync(join(tmpdir(), 'find-nats-'));
const env = { ...(process.env as Record<string, string>) };
const full = env['BILLING_TEST_TIER'] === 'full';

test.after.always(() => rmSync(dir, { recursive: true, force: true }));

/** A folder with a program that says it is nats-server of this version. */
function folderWith(name: string, version: string): string {
  const folder = join(dir, name);
  mkdirSync(folder);
  writeFileSync(join(folder, 'nats-server'), `#!/bin/sh\necho "nats-server: ${version}"\n`);
  chmodSync(join(folder, 'nats-server'), 0o755);
  return folder;
}

test('the first one that is new enough is taken: PATH, the usual places, an earlier download', async (t) => {
  const [old, usual, cached] = [
    folderWith('old', 'v2.8.4'),
    folderWith('usual', 'v2.9.0'),
    folderWith('cached', 'v2.12.1'),
  ];
  const found = (PATH: string, places: string[]) =>
    findNatsServer({ env: { PATH }, places, cacheDir: cached, download: false });
  t.is(await found(`${old}:${usual}`, []), join(usual, 'nats-server'));
  t.is(await found(old, [usual]), join(usual, 'nats-server'));
  t.is(await found(old, []), join(cached, 'nats-server'));
});

test('without one, and without a way to fetch one, a line says what to install', async (t) => {
  const cacheDir = join(dir, 'empty-cache');
  const nothing = { env: { PATH: '/nowhere' }, places: [], cacheDir };
  const line = /^nats-server is missing: install it \(Debian: apt install nats-server; macOS: .*\), 2\.9 or newer/;

  const offline = await t.throwsAsync(findNatsServer({ ...nothing, download: false }), { instanceOf: LocalError });
  t.regex(offline?.message ?? '', line);

  const noApt = await t.throwsAsync(findNatsServer({ ...nothing, aptGet: '/nowhere/apt-get' }), {
    instanceOf: LocalError,
  });
  t.regex(noApt?.message ?? '', line);
  t.true(noApt?.message.endsWith('fetching the Debian package failed: there is no /nowhere/apt-get'));
  t.deepEqual(readdirSync(cacheDir), []);
});

test('a download that fails says why in the same line and leaves nothing behind', async (t) => {
  const cacheDir = join(dir, 'failed-cache');
  const aptGet = join(dir, 'apt-get');
  writeFileSync(
    aptGet,
    '#!/bin/sh\necho "W: Failed to fetch http://deb.example/InRelease  Could not connect" >&2\nexit 100\n',
  );
  chmodSync(aptGet, 0o755);
  const search = { env: { PATH: '/nowhere' }, places: [], cacheDir, aptGet };
  const error = await t.throwsAsync(findNatsServer(search), { instanceOf: LocalError });
  t.true(error?.message.endsWith('failed: Failed to fetch http://deb.example/InRelease  Could not connect'));
  t.false(error?.message.includes('\n'));
  t.deepEqual(readdirSync(cacheDir), []);
});

// Needs the network and Debian: the longer tier.
if (full)
  test('the Debian package is fetched and runs, without root and without an environment', async (t) => {
    const told: string[] = [];
    const path = await findNatsServer({
      env: { PATH: '/usr/bin:/bin' },
      places: [],
      cacheDir: join(dir, 'cache'),
      progress: (line) => told.push(line),
    });
    t.is(path, join(dir, 'cache/nats-server'));
    t.regex(execFileSync(path, ['--version']).toString(), /v2\.\d+/);
    t.deepEqual(told, ['fetches the Debian package nats-server, which needs no root']);
    t.deepEqual(readdirSync(join(dir, 'cache')), ['nats-server']);
  });
