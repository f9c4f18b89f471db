import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { bareEnv } from '../testing/bare-env.ts';
import { forge } from '../testing/ledger.ts';
import { startWorld, type World } from '../testing/world.ts';

const program = join(import.meta.dirname, 'billing.ts');
const dataDir = mkdtempSync(join(tmpdir(), 'billing-'));
let world: World;

test.before(async () => {
  world = await startWorld();
  const { paymentSystem, auth, databaseUrl, nats } = world;
  const secretsFile = join(dataDir, 'secrets.json');
  const secrets = {
    paymentApiKey: paymentSystem.apiKey,
    paymentWebhookSecret: paymentSystem.webhookSecret,
    billingSecret: 'a secret of the tests',
  };
  writeFileSync(secretsFile, JSON.stringify(secrets));
  const running = {
    authUrl: auth.url,
    paymentSystemUrl: paymentSystem.url,
    databaseUrl,
    natsUrl: nats.url,
    secretsFile,
  };
  writeFileSync(join(dataDir, 'running.json'), JSON.stringify(running));
});
test.after.always(async () => {
  await world?.stop();
  rmSync(dataDir, { recursive: true, force: true });
});

function run(args: string[], env: Record<string, string> = { BILLING_DATA_DIR: dataDir }) {
  return new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
    const child = execFile(process.execPath, [program, ...args], { env: bareEnv(env) }, (_error, stdout, stderr) =>
      resolve({ code: child.exitCode ?? -1, stdout, stderr }),
    );
  });
}

test.serial('before the first payment nothing is proven, and it says so', async (t) => {
  for (const command of ['verify-ledger', 'reconcile']) {
    const { code, stdout } = await run([command]);
    t.is(code, 1);
    t.regex(stdout, /✗ There was nothing to examine, so nothing is proven\./);
  }
});

test.serial('a clean run says how much it examined, and keeps the ends of the chains', async (t) => {
  for (let n = 0; n < 3; n++) await world.subscriber();
  const file = join(dataDir, 'heads.json');
  const ledger = await run(['verify-ledger', '--heads', file]);
  t.is(ledger.code, 0, ledger.stdout + ledger.stderr);
  t.regex(ledger.stdout, /^ {2}facts +3$/m);
  t.regex(ledger.stdout, /^ {2}charges in our books +3$/m);
  t.regex(ledger.stdout, /✓ Everything that was examined agrees\./);
  const [head] = await world.query(
    `select lane, sequence, encode(hash, 'hex') as hash from journal_batch order by lane, sequence desc limit 1`,
  );
  t.deepEqual((JSON.parse(readFileSync(file, 'utf8')) as unknown[])[0], head);
  const books = await run(['reconcile']);
  t.is(books.code, 0, books.stdout + books.stderr);
  t.regex(books.stdout, /^ {2}of them, paid +3$/m);
  t.regex(books.stdout, /^ {2}charges in the journal +3$/m);
});

test.serial('it takes the configuration of the service from the environment', async (t) => {
  const { code, stdout } = await run(['reconcile', '--from', '2027-01-15', '--to', '2027-01-16T00:00:00Z'], {
    BILLING_DATABASE_URL: world.databaseUrl,
    BILLING_NATS_URL: world.nats.url,
    BILLING_AUTH_PUBLIC_KEY: world.auth.publicKeyPem,
    BILLING_AUTH_ISSUER: world.auth.issuer,
    BILLING_AUTH_AUDIENCE: world.auth.audience,
    BILLING_SECRET: 'a secret of the tests',
    PAYMENT_PROVIDER: 'sandbox',
    SANDBOX_PAYMENT_URL: world.paymentSystem.url,
    SANDBOX_PAYMENT_API_KEY: world.paymentSystem.apiKey,
    SANDBOX_PAYMENT_WEBHOOK_SECRET: world.paymentSystem.webhookSecret,
  });
  t.is(code, 0, stdout);
  t.regex(stdout, /begun from 2027-01-15T00:00:00Z to 2027-01-16T00:00:00Z/);
});

test.serial('what cannot be examined ends with 2 and one line', async (t) => {
  const empty = mkdtempSync(join(tmpdir(), 'billing-none-'));
  const away = mkdtempSync(join(tmpdir(), 'billing-away-'));
  t.teardown(() => [empty, away].forEach((dir) => rmSync(dir, { recursive: true })));
  const running = JSON.parse(readFileSync(join(dataDir, 'running.json'), 'utf8')) as object;
  writeFileSync(join(empty, 'heads.json'), '[1]');
  writeFileSync(
    join(away, 'running.json'),
    JSON.stringify({ ...running, databaseUrl: 'postgres://127.0.0.1:1/x', paymentSystemUrl: 'http://127.0.0.1:1' }),
  );
  const cases: [args: string[], dir: string, line: RegExp][] = [
    [[], dataDir, /^billing: the command has to be one of verify-ledger, reconcile; see --help\n$/],
    [['verify-ledger', 'reconcile'], dataDir, /^billing: one command at a time, not also reconcile; see --help\n$/],
    [['reconcile', '--form', 'x'], dataDir, /^billing: Unknown option '--form'; see --help\n$/],
    [['reconcile', '--from', 'yesterday'], dataDir, /^billing: --from is not a date or an instant, such as .*\n$/],
    [['reconcile', '--from', '2027-02-01', '--to', '2027-01-01'], dataDir, /^billing: --from has to be before --to\n$/],
    [
      ['verify-ledger', '--heads', join(empty, 'heads.json')],
      dataDir,
      /^billing: .* is not what verify-ledger --heads wrote\n$/,
    ],
    [['verify-ledger'], empty, /^billing: nothing is running here .*"npm start"\n$/],
    [['verify-ledger'], away, /^billing: the database does not answer\n$/],
  ];
  for (const [args, dir, line] of cases) {
    const { code, stdout, stderr } = await run(args, { BILLING_DATA_DIR: dir });
    t.is(code, 2, args.join(' '));
    t.is(stdout, '');
    t.regex(stderr, line);
  }
});

test.serial('findings are listed by class, and the run ends with 1', async (t) => {
  await forge(world.query, `update journal_fact set amount_minor = 1 where sequence = 1 and lane = 1`);
  const ledger = await run(['verify-ledger']);
  t.is(ledger.code, 1);
  t.regex(ledger.stdout, /^ {2}tampered row +1$/m);
  t.regex(ledger.stdout, /^tampered row\n {2}batch 1 of lane 1, 1 fact, is not what was hashed$/m);
  t.regex(ledger.stdout, /✗ 2 findings: a person has to look\./);
  const books = await run(['reconcile']);
  t.is(books.code, 1);
  t.regex(books.stdout, /^amount\n {2}payment pay_\w+: the provider took 299\.00 RUB, we wrote down 0\.01 RUB$/m);
});

test('--help explains both commands and the exit codes', async (t) => {
  const { code, stdout } = await run(['--help']);
  t.is(code, 0);
  for (const what of ['verify-ledger', 'reconcile', 'Exit: 0']) t.true(stdout.includes(what));
});
