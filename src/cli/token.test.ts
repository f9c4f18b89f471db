import test from 'ava';
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startAuthDouble } from '../testing/auth-double.ts';

const program = join(import.meta.dirname, 'token.ts');
const dataDir = mkdtempSync(join(tmpdir(), 'token-'));
// Nothing listens there: tokens need no NATS.
const auth = await startAuthDouble({ natsUrl: 'nats://127.0.0.1:1' });
writeFileSync(join(dataDir, 'running.json'), JSON.stringify({ authUrl: auth.url }));

test.after.always(async () => {
  await auth.stop();
  rmSync(dataDir, { recursive: true, force: true });
});

function run(args: string[], billingDataDir = dataDir): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    const env = { ...process.env, BILLING_DATA_DIR: billingDataDir };
    const child = execFile(process.execPath, [program, ...args], { env }, (_error, stdout, stderr) =>
      resolve({ code: child.exitCode ?? -1, stdout, stderr }),
    );
  });
}

test('prints nothing but a token that Auth calls good', async (t) => {
  const sub = randomUUID();
  const viewer = await run(['--sub', sub]);
  t.is(viewer.code, 0);
  t.is(viewer.stderr, '');
  t.regex(viewer.stdout, /^[\w-]+\.[\w-]+\.[\w-]+\n$/);
  t.deepEqual(await auth.check(viewer.stdout.trim()), { active: true });
  t.is(claims(viewer.stdout)['sub'], sub);
  t.is(claims((await run(['--sub', 'olga', '--role', 'admin'])).stdout)['role'], 'admin');
  t.is(claims((await run(['--sub', 'gateway', '--scope', 'billing.read'])).stdout)['scope'], 'billing.read');
});

test('refuses with one line and a non-zero exit', async (t) => {
  const empty = mkdtempSync(join(tmpdir(), 'token-none-'));
  const stale = mkdtempSync(join(tmpdir(), 'token-stale-'));
  t.teardown(() => [empty, stale].forEach((dir) => rmSync(dir, { recursive: true })));
  writeFileSync(join(stale, 'running.json'), JSON.stringify({ authUrl: 'http://127.0.0.1:1' }));
  const sub = randomUUID();
  const cases: [args: string[], dir: string, line: RegExp][] = [
    [[], dataDir, /^token: --sub is missing; see --help\n$/],
    [['--sub', 'me'], dataDir, /^token: sub is not a UUID in lower case\n$/],
    [['--sub', sub, '--role', 'emperor'], dataDir, /^token: role is not one of read_only, support, admin\n$/],
    [['--sub', sub, '--colour', 'red'], dataDir, /^token: Unknown option '--colour'; see --help\n$/],
    [['--sub', sub], empty, /^token: nothing is running here \(there is no .*running\.json\): .*"npm start"\n$/],
    [['--sub', sub], stale, /^token: the local Auth at http:\/\/127\.0\.0\.1:1 does not answer: .*\n$/],
  ];
  for (const [args, dir, line] of cases) {
    const { code, stdout, stderr } = await run(args, dir);
    t.is(code, 1);
    t.is(stdout, '');
    t.regex(stderr, line);
  }
});

test('--help explains it', async (t) => {
  const { code, stdout } = await run(['--help']);
  t.is(code, 0);
  t.regex(stdout, /npm run --silent token -- --sub UUID/);
});

function claims(token: string): Record<string, unknown> {
  return JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString()) as Record<string, unknown>;
}
