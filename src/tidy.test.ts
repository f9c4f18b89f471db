import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import test from 'ava';

interface Source {
  /** From the root: src/catalog/plan.ts */
  path: string;
  text: string;
}

interface Violation {
  path: string;
  rule: string;
  what: string;
}

/** Who may import whom inside src; a folder may always import itself. Everything else is a wrong direction. */
const mayImport: Record<string, string[]> = {
  lib: [],
  config: ['lib'],
  db: ['lib'],
  identity: ['db', 'lib'],
  outbox: ['identity', 'db', 'lib'],
  ledger: ['identity', 'db', 'lib'],
  audit: ['identity', 'db', 'lib'],
  catalog: ['audit', 'outbox', 'identity', 'db', 'lib'],
  promotions: ['audit', 'catalog', 'identity', 'db', 'lib'],
  payments: ['promotions', 'audit', 'ledger', 'outbox', 'identity', 'db', 'lib'],
  entitlements: ['catalog', 'outbox', 'identity', 'db', 'lib'],
  subscriptions: [
    'audit',
    'catalog',
    'promotions',
    'payments',
    'entitlements',
    'ledger',
    'outbox',
    'identity',
    'db',
    'lib',
  ],
  renewals: ['subscriptions', 'catalog', 'promotions', 'payments', 'entitlements', 'outbox', 'identity', 'db', 'lib'],
  sandbox: ['renewals', 'subscriptions', 'payments', 'identity', 'db', 'lib'],
  admin: [
    'renewals',
    'subscriptions',
    'catalog',
    'promotions',
    'payments',
    'entitlements',
    'audit',
    'identity',
    'db',
    'lib',
  ],
  transport: [
    'admin',
    'sandbox',
    'renewals',
    'subscriptions',
    'catalog',
    'promotions',
    'payments',
    'entitlements',
    'audit',
    'identity',
    'lib',
  ],
  'local/payment-system': ['lib'],
  'local/auth-double': ['lib'],
  'local/double': [],
  'local/stripe-double': ['local/double'],
  'local/yookassa-double': ['local/double'],
  local: ['cli', 'config', 'db', 'lib'],
  // The operator's tool asks the ledger directly, on an app that does not listen.
  cli: ['', 'subscriptions', 'ledger', 'db', 'config', 'lib'],
  testing: ['*'],
  // main.ts, app.ts, entities.ts
  '': ['*'],
};

/** Packages that only these folders, or files, may import (tests and testing/ may import all). */
const packageHomes: [pattern: RegExp, homes: string[]][] = [
  [/^jose$/, ['identity']],
  [/^@nats-io\//, ['outbox', 'local/auth-double']],
  [/^@connectrpc\//, ['transport']],
  [/^@grpc\/grpc-js$|^grpc-health-check$/, ['transport', 'cli']],
  [/^@bufbuild\//, ['transport', 'outbox', 'local/auth-double', 'cli', 'local']],
  [/^@cinema-billing\/gen\//, ['transport', 'outbox', 'local', 'local/auth-double', 'cli', '']],
  [/^pg$/, ['db', 'local']],
  [/^croner$/, ['renewals']],
  [/^stripe$/, ['payments/providers/stripe']],
  [
    /^kysely$|^@mikro-orm\//,
    [
      'db',
      'admin',
      'audit',
      'identity/once.ts',
      'outbox',
      'catalog',
      'ledger',
      'promotions',
      'payments',
      'entitlements',
      'subscriptions',
      'renewals',
      'sandbox',
      '',
    ],
  ],
];

/** Business time comes from the database's clock. These read real time on purpose. */
const realTimeAllowed: Record<string, string> = {
  'src/payments/providers/sandbox/sandbox-webhook.ts': 'the age of a signature is real time',
  'src/payments/providers/stripe/stripe-webhook.ts': 'the age of a signature is real time',
  'src/payments/providers/stripe/stripe-look-up.ts': 'the pages of a payment system live by real time',
  'src/payments/providers/yookassa/yookassa-provider.ts': 'the pages of a payment system live by real time',
  'src/subscriptions/subscribe.ts': 'the lease of a call under way is real time',
  'src/subscriptions/plan-change-payment.ts': 'the lease of a call under way is real time',
};
/** A home in them is no developer's. */
const madeUpPaths: Record<string, string> = {
  'src/config/local-config.test.ts': 'an environment written by hand',
};
const domains = new Set([
  'admin',
  'audit',
  'catalog',
  'ledger',
  'promotions',
  'payments',
  'entitlements',
  'subscriptions',
  'renewals',
]);

/** All that the code of one payment system may know of ours, beside lib and itself. */
const providerInterface = 'src/payments/provider.ts';

const sourceFolders = ['src', 'bench', 'chaos', 'sim'];
const functionLinesMax = 70;
const fileLinesMax = 300;

function folderOf(path: string): string {
  const folder = dirname(path).replace(/^src\/?/, '');
  if (folder.startsWith('local/')) return folder.split('/').slice(0, 2).join('/');
  return folder === '.' ? '' : folder.split('/')[0]!;
}

/** What stands on everything and is no part of the service. */
const isTest = (path: string) => path.endsWith('.test.ts') || /^(src\/testing|bench|chaos|sim)\//.test(path);

function importsOf(text: string): string[] {
  return [...text.matchAll(/^(?:import|export)\s[^;]*?from\s+'([^']+)'|^import '([^']+)'|\bimport\('([^']+)'\)/gm)].map(
    ([, from, bare, dynamic]) => from ?? bare ?? dynamic!,
  );
}

/** Whether the file is in the folder (exactly that one, or under one that a slash names), or is the file. */
function livesIn(path: string, home: string): boolean {
  return folderOf(path) === home || (home.includes('/') && `${path}/`.startsWith(`src/${home}/`));
}

const readsEnvironment = /\bprocess\.env\b|\benv\b[^;\n]*(?:= process\b|from 'node:process')/;

/** Everything that is against the rules of the house. */
function violationsIn(sources: readonly Source[]): Violation[] {
  return sources.flatMap(({ path, text }) => {
    const found: Violation[] = [];
    const note = (rule: string, what: string) => found.push({ path, rule, what });
    const folder = folderOf(path);
    for (const specifier of importsOf(text)) {
      if (specifier.startsWith('.')) checkDirection(path, folder, specifier, note);
      else if (!isTest(path)) {
        for (const [pattern, homes] of packageHomes) {
          if (pattern.test(specifier) && !homes.some((home) => livesIn(path, home)))
            note('package out of its home', specifier);
        }
      }
    }
    if (/(^|\/)index\.ts$/.test(path) || /^export \* /m.test(text)) note('barrel', path);
    if (path === 'src/tidy.test.ts') return found;
    const mayReadEnvironment = isTest(path) || folder === 'config' || /^src\/local\/[a-z-]+\/main\.ts$/.test(path);
    if (!mayReadEnvironment && readsEnvironment.test(text)) note('environment', 'process.env outside config/');
    if (/\btest(\.\w+)*\.(skip|only|todo|failing)\b|\bt\.\w+\.skip\b/.test(text)) {
      note('unfinished test', 'skip, only, todo or failing');
    }
    if (domains.has(folder) && !isTest(path) && !(path in realTimeAllowed)) {
      if (/\bDate\.now\b|new Date\(\)|Temporal\.Now\b/.test(text)) note('real time', 'business time is the database’s');
    }
    if (/\bas any\b|: any\b|<any\b|, any>/.test(text)) note('any', 'a type that checks nothing');
    if (!(path in madeUpPaths) && /\/(home|root|Users|work)\/\w+/.test(text))
      note('machine path', 'a path of a developer machine');
    return found;
  });
}

function checkDirection(
  path: string,
  folder: string,
  specifier: string,
  note: (rule: string, what: string) => void,
): void {
  const target = normalize(join(dirname(path), specifier));
  const to = folderOf(target);
  if (isTest(path)) return;
  const provider = /^src\/payments\/providers\/[^/]+\//.exec(path)?.[0];
  if (provider !== undefined) {
    if (to !== 'lib' && !target.startsWith(provider) && target !== providerInterface) note('provider', target);
    return;
  }
  if (target.startsWith('src/payments/providers/') && path !== 'src/app.ts') return note('provider named', target);
  if (to === folder) return;
  if (to === 'testing') return note('testing', `${target} is for tests`);
  const allowed = mayImport[folder];
  if (allowed === undefined) return note('unknown folder', folder);
  if (!allowed.includes('*') && !allowed.includes(to)) note('direction', `${folder} → ${to || 'app'}`);
}

function readSources(): Source[] {
  const root = join(import.meta.dirname, '..');
  return sourceFolders.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts'))
      .map((file) => ({ path: `${folder}/${file}`, text: readFileSync(join(root, folder, file), 'utf8') })),
  );
}

const planted: [rule: string, source: Source][] = [
  ['direction', { path: 'src/payments/x.ts', text: "import { a } from '../subscriptions/y.ts';" }],
  ['direction', { path: 'src/local/auth-double/x.ts', text: "import { a } from '../../outbox/y.ts';" }],
  ['testing', { path: 'src/catalog/x.ts', text: "import { a } from '../testing/y.ts';" }],
  ['unknown folder', { path: 'src/helpers/x.ts', text: "import { a } from '../lib/y.ts';" }],
  ['direction', { path: 'src/renewals/x.ts', text: "import { loadConfig } from '../config/config.ts';" }],
  ['direction', { path: 'src/catalog/x.ts', text: "const a = await import('../app.ts');" }],
  ['direction', { path: 'src/cli/x.ts', text: "import {\n  a,\n} from '../renewals/y.ts';" }],
  ['provider', { path: 'src/payments/providers/other/x.ts', text: "import { a } from '../../payment.ts';" }],
  ['provider named', { path: 'src/payments/x.ts', text: "import { a } from './providers/other/y.ts';" }],
  ['provider named', { path: 'src/transport/x.ts', text: "import { a } from '../payments/providers/other/y.ts';" }],
  ['provider', { path: 'src/payments/providers/other/x.ts', text: "import { a } from '../sandbox/y.ts';" }],
  ['provider', { path: 'src/payments/providers/other/x.ts', text: "import { a } from '../../../db/clock.ts';" }],
  ...[
    ['subscriptions', 'jose'],
    ['subscriptions', '@nats-io/jetstream'],
    ['renewals', '@connectrpc/connect'],
    ['outbox', '@grpc/grpc-js'],
    ['subscriptions', '@bufbuild/protobuf'],
    ['subscriptions', '@cinema-billing/gen/billing/v1/plan_pb.ts'],
    ['outbox', 'pg'],
    ['subscriptions', 'croner'],
    ['payments/providers/sandbox', 'stripe'],
    ['transport', 'kysely'],
    ['transport', '@mikro-orm/core'],
    ['identity', '@mikro-orm/core'],
  ].map(([folder, name]): (typeof planted)[number] => [
    'package out of its home',
    { path: `src/${folder}/x.ts`, text: `import type { A } from '${name}';` },
  ]),
  ['barrel', { path: 'src/catalog/index.ts', text: '' }],
  ['barrel', { path: 'src/catalog/all.ts', text: "export * from './plan.ts';" }],
  ['environment', { path: 'src/transport/x.ts', text: "const port = process.env['PORT'];" }],
  ['environment', { path: 'src/transport/x.ts', text: 'const { env } = process;' }],
  ['unfinished test', { path: 'src/catalog/x.test.ts', text: "test.only('a', () => {});" }],
  ['unfinished test', { path: 'src/catalog/x.test.ts', text: "test.serial.skip('a', () => {});" }],
  ['unfinished test', { path: 'src/catalog/x.test.ts', text: 't.is.skip(1, 2);' }],
  ['real time', { path: 'src/renewals/x.ts', text: 'const now = Date.now();' }],
  ['real time', { path: 'src/catalog/x.ts', text: 'const read = Date.now;' }],
  ['any', { path: 'src/catalog/x.ts', text: 'const a = b as any;' }],
  ['any', { path: 'src/catalog/x.test.ts', text: 'const a = new Map<string, any>();' }],
  ['any', { path: 'bench/x.ts', text: 'const a = b as any;' }],
  ['machine path', { path: 'src/catalog/x.ts', text: "const a = '/home/ivan/billing';" }],
];

for (const [n, [rule, source]] of planted.entries()) {
  test(`a planted violation is found: ${rule} (${n + 1})`, (t) => {
    t.deepEqual(
      violationsIn([source]).map((violation) => violation.rule),
      [rule],
    );
  });
}

test('the sources keep the rules of the house', (t) => {
  const sources = readSources();
  t.true(sources.length > 100, 'examined too few files');
  t.deepEqual(violationsIn(sources), []);
  for (const { path, text } of sources) {
    const lines = text.split('\n').length;
    if (lines > fileLinesMax && !isTest(path)) t.log(`${path} has ${lines} lines: does it hold one thing?`);
    for (const [whole, name] of text.matchAll(/^(?:export )?(?:async )?function (\w+)[^]*?^}/gm)) {
      if (whole.split('\n').length > functionLinesMax)
        t.log(`${path}: ${name} is longer than ${functionLinesMax} lines`);
    }
  }
});

test('every exception to the rules is still needed', (t) => {
  const byPath = new Map(readSources().map(({ path, text }) => [path, text]));
  for (const path of Object.keys(realTimeAllowed)) t.regex(byPath.get(path) ?? '', /Date\.now|Temporal\.Now/, path);
  for (const path of Object.keys(madeUpPaths)) t.regex(byPath.get(path) ?? '', /\/home\//, path);
});
