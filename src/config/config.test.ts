import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { createSelfSigned } from '../testing/self-signed.ts';
import { ConfigError, readConfig } from './config.ts';

const complete = {
  BILLING_DATABASE_URL: 'postgresql://u:p@127.0.0.1:5432/billing',
  BILLING_NATS_URL: 'nats://127.0.0.1:4222',
  BILLING_AUTH_PUBLIC_KEY: '-----BEGIN PUBLIC KEY-----\\nabc\\n-----END PUBLIC KEY-----',
  BILLING_AUTH_ISSUER: 'cinema-auth',
  BILLING_AUTH_AUDIENCE: 'cinema-billing',
  PAYMENT_PROVIDER: 'sandbox',
  SANDBOX_PAYMENT_URL: 'http://127.0.0.1:9000',
  BILLING_SECRET: 'a secret',
  SANDBOX_PAYMENT_API_KEY: 'key',
  SANDBOX_PAYMENT_WEBHOOK_SECRET: 'new,old',
};

function problemsOf(env: Record<string, string | undefined>): readonly string[] {
  try {
    readConfig(env);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
}

test('a complete environment gives the documented defaults', (t) => {
  const config = readConfig(complete);
  t.is(config.host, '127.0.0.1');
  t.is(config.httpPort, 8080);
  t.is(config.grpcPort, 50051);
  t.deepEqual([...config.roles], ['api', 'renewals', 'relay']);
  t.is(config.timeZone, 'UTC');
  t.is(config.leaseMarginHours, 72);
  t.is(config.auth.publicKeyPem, '-----BEGIN PUBLIC KEY-----\nabc\n-----END PUBLIC KEY-----');
  t.like(config.payments, [{ provider: 'sandbox', apiKey: 'key', webhookSecrets: ['new', 'old'] }]);
  t.true(Object.isFrozen(config) && Object.isFrozen(config.auth) && Object.isFrozen(config.payments[0]));
});

test('every problem is reported at once, each by the name of its variable', (t) => {
  const problems = problemsOf({ BILLING_PORT: '99999', BILLING_TIME_ZONE: 'Mars/Olympus', BILLING_ROLES: 'api,boss' });
  for (const name of [
    'BILLING_PORT',
    'BILLING_TIME_ZONE',
    'BILLING_ROLES',
    'BILLING_DATABASE_URL',
    'BILLING_NATS_URL',
    'BILLING_AUTH_PUBLIC_KEY',
    'BILLING_AUTH_ISSUER',
    'BILLING_AUTH_AUDIENCE',
    'PAYMENT_PROVIDER',
    'SANDBOX_PAYMENT_URL',
    'SANDBOX_PAYMENT_API_KEY',
    'SANDBOX_PAYMENT_WEBHOOK_SECRET',
  ]) {
    t.true(
      problems.some((problem) => problem.includes(name)),
      name,
    );
  }
});

test('a fail point has to be one of the code, and none is taken in production', (t) => {
  t.is(readConfig(complete).failPoint, undefined);
  t.is(readConfig({ ...complete, BILLING_FAIL_POINT: 'settle.after-commit' }).failPoint, 'settle.after-commit');
  t.regex(problemsOf({ ...complete, BILLING_FAIL_POINT: 'nowhere' }).join('\n'), /BILLING_FAIL_POINT has to be one of/);
  const production = { ...complete, BILLING_FAIL_POINT: 'settle.after-commit', NODE_ENV: 'production' };
  t.true(problemsOf(production).includes('BILLING_FAIL_POINT is for tests and is refused with NODE_ENV=production'));
});

test('the sandbox is refused in production', (t) => {
  t.regex(problemsOf({ ...complete, NODE_ENV: 'production' }).join('\n'), /sandbox/);
});

test('production refuses short secrets and those of the embedded default, each by its name', (t) => {
  const weak = {
    ...complete,
    SANDBOX_PAYMENT_API_KEY: '123456789012345',
    SANDBOX_PAYMENT_WEBHOOK_SECRET: 'a-long-secret-of-the-operator,local-default-0123456789abcdef',
  };
  t.deepEqual(problemsOf(weak), []);
  t.deepEqual(
    problemsOf({ ...weak, NODE_ENV: 'production' }).filter((problem) => problem.startsWith('SANDBOX')),
    [
      'SANDBOX_PAYMENT_API_KEY needs at least 16 characters with NODE_ENV=production',
      "SANDBOX_PAYMENT_WEBHOOK_SECRET is one of the embedded default's and is refused with NODE_ENV=production",
    ],
  );
});

test('the webhook secret is one, or two while it is being changed', (t) => {
  for (const secrets of ['a,b,c', 'a,', ',b']) {
    t.regex(problemsOf({ ...complete, SANDBOX_PAYMENT_WEBHOOK_SECRET: secrets }).join(), /one secret, or two/, secrets);
  }
  const config = readConfig({ ...complete, SANDBOX_PAYMENT_WEBHOOK_SECRET: 'new, old' });
  t.like(config.payments[0], { webhookSecrets: ['new', 'old'] });
});

test('only the variables of the payment system that is chosen are asked for', (t) => {
  const {
    SANDBOX_PAYMENT_URL: _,
    SANDBOX_PAYMENT_API_KEY: __,
    SANDBOX_PAYMENT_WEBHOOK_SECRET: ___,
    ...rest
  } = complete;
  t.deepEqual(problemsOf({ ...rest, PAYMENT_PROVIDER: 'stripe' }), [
    'STRIPE_API_KEY is not set',
    'STRIPE_ACCOUNT is not set',
    'STRIPE_WEBHOOK_SECRET is not set',
    'STRIPE_RETURN_URL is not set',
  ]);
  t.deepEqual(problemsOf({ ...rest, PAYMENT_PROVIDER: 'yookassa' }), [
    'YOOKASSA_SHOP_ID is not set',
    'YOOKASSA_SECRET_KEY is not set',
    'YOOKASSA_RETURN_URL is not set',
  ]);
  const stripe = {
    ...rest,
    PAYMENT_PROVIDER: 'stripe',
    STRIPE_API_KEY: 'sk_test_1',
    STRIPE_ACCOUNT: 'acct_1',
    STRIPE_WEBHOOK_SECRET: 'whsec_1',
    STRIPE_RETURN_URL: 'https://cinema.example/account',
  };
  t.deepEqual(readConfig(stripe).payments, [
    {
      provider: 'stripe',
      baseUrl: 'https://api.stripe.com',
      apiKey: 'sk_test_1',
      account: 'acct_1',
      webhookSecrets: ['whsec_1'],
      returnUrl: 'https://cinema.example/account',
    },
  ]);
  t.deepEqual(problemsOf({ ...stripe, STRIPE_API_KEY: 'pk_test_1' }), [
    'STRIPE_API_KEY has to be a secret or restricted key: sk_… or rk_…',
  ]);
  const clear = { ...stripe, STRIPE_API_URL: 'http://stripe.test' };
  t.deepEqual(problemsOf(clear), []);
  t.true(
    problemsOf({ ...clear, NODE_ENV: 'production' }).includes(
      'STRIPE_API_URL has to be a URL that starts with https://',
    ),
  );
});

test('several payment systems stand beside one another in order, and currencies are given to them by name', (t) => {
  const both = {
    ...complete,
    PAYMENT_PROVIDER: 'yookassa, stripe',
    PAYMENT_PROVIDER_BY_CURRENCY: 'RUB:yookassa, EUR:stripe',
    STRIPE_API_KEY: 'sk_test_1',
    STRIPE_ACCOUNT: 'acct_1',
    STRIPE_WEBHOOK_SECRET: 'whsec_1',
    STRIPE_RETURN_URL: 'https://cinema.example/account',
    YOOKASSA_SHOP_ID: '1',
    YOOKASSA_SECRET_KEY: 'k',
    YOOKASSA_RETURN_URL: 'https://cinema.example/account',
  };
  const config = readConfig(both);
  t.deepEqual(
    config.payments.map(({ provider }) => provider),
    ['yookassa', 'stripe'],
  );
  t.deepEqual(
    [...config.providerOfCurrency],
    [
      ['RUB', 'yookassa'],
      ['EUR', 'stripe'],
    ],
  );
  const wrong = (env: Record<string, string>) => problemsOf({ ...both, ...env });
  t.regex(wrong({ PAYMENT_PROVIDER: 'stripe,stripe' })[0]!, /^PAYMENT_PROVIDER has to be one of.*each once/);
  t.regex(wrong({ PAYMENT_PROVIDER: 'stripe,paypal' })[0]!, /^PAYMENT_PROVIDER has to be one of/);
  t.deepEqual(wrong({ PAYMENT_PROVIDER: 'stripe,sandbox', PAYMENT_PROVIDER_BY_CURRENCY: '' }), [
    'PAYMENT_PROVIDER: sandbox takes play money and cannot stand beside another one',
  ]);
  t.deepEqual(wrong({ PAYMENT_PROVIDER: 'stripe' }), [
    'PAYMENT_PROVIDER_BY_CURRENCY: RUB goes to yookassa, which is not in PAYMENT_PROVIDER',
  ]);
  t.deepEqual(wrong({ PAYMENT_PROVIDER_BY_CURRENCY: 'EUR:stripe,EUR:yookassa' }), [
    'PAYMENT_PROVIDER_BY_CURRENCY names EUR twice',
  ]);
  t.regex(
    wrong({ PAYMENT_PROVIDER_BY_CURRENCY: 'EUR=stripe' })[0]!,
    /has to list currencies with their payment system/,
  );
});

test('receipts are asked for where their VAT code is set, which is checked', (t) => {
  const shop = {
    ...complete,
    PAYMENT_PROVIDER: 'yookassa',
    YOOKASSA_SHOP_ID: '1',
    YOOKASSA_SECRET_KEY: 'k',
    YOOKASSA_RETURN_URL: 'https://cinema.example/',
  };
  t.like(readConfig(shop).payments[0], { receipts: undefined, taxSystemCode: undefined });
  const receipts = { vatCode: 4, subject: 'service', mode: 'full_payment' };
  t.like(readConfig({ ...shop, YOOKASSA_RECEIPT_VAT_CODE: '4' }).payments[0], { receipts, taxSystemCode: undefined });
  t.deepEqual(problemsOf({ ...shop, YOOKASSA_RECEIPT_VAT_CODE: '13', YOOKASSA_RECEIPT_TAX_SYSTEM_CODE: '7' }), [
    'YOOKASSA_RECEIPT_VAT_CODE has to be a whole number from 1 to 12',
    'YOOKASSA_RECEIPT_TAX_SYSTEM_CODE has to be a whole number from 1 to 6',
  ]);
});

test('a clock beside a payment system is refused where real money could move', (t) => {
  const url = 'http://127.0.0.1:9000/double/activity';
  const local = { ...complete, BILLING_SANDBOX_ACTIVITY_URL: url };
  t.is(readConfig(local).sandboxActivityUrl, url);
  t.is(readConfig(complete).sandboxActivityUrl, undefined);
  const live = { ...local, PAYMENT_PROVIDER: 'yookassa', YOOKASSA_SHOP_ID: '1', YOOKASSA_SECRET_KEY: 'k' };
  const problems = problemsOf({ ...live, YOOKASSA_RETURN_URL: 'https://cinema.example/', NODE_ENV: 'production' });
  t.true(problems.includes('BILLING_SANDBOX_ACTIVITY_URL is refused with NODE_ENV=production'));
  t.true(problems.some((problem) => problem.includes('it is for doubles, not for real money')));
  const away = { ...local, BILLING_SANDBOX_ACTIVITY_URL: 'http://doubles.example/activity' };
  t.regex(problemsOf(away).join(), /not for real money/);
});

test('the public key comes from exactly one place, and is PEM', (t) => {
  const { BILLING_AUTH_PUBLIC_KEY: _, ...without } = complete;
  const both = problemsOf({ ...complete, BILLING_AUTH_PUBLIC_KEY_FILE: '/etc/auth.pem' });
  t.deepEqual(both.length, 1);
  t.regex(
    both[0]!,
    /^exactly one of BILLING_AUTH_PUBLIC_KEY, BILLING_AUTH_PUBLIC_KEY_FILE and BILLING_AUTH_JWKS_URL has to be set/,
  );
  t.deepEqual(problemsOf({ ...without, BILLING_AUTH_PUBLIC_KEY_FILE: '/nowhere/auth.pem' }), [
    'BILLING_AUTH_PUBLIC_KEY_FILE: /nowhere/auth.pem cannot be read',
  ]);
  t.deepEqual(problemsOf({ ...without, BILLING_AUTH_PUBLIC_KEY_FILE: import.meta.filename.replace('.test', '') }), [
    'BILLING_AUTH_PUBLIC_KEY_FILE does not hold a key as PEM',
  ]);
});

test('the keys may come from a URL instead, which is https in production', (t) => {
  const { BILLING_AUTH_PUBLIC_KEY: _, ...without } = complete;
  const published = { ...without, BILLING_AUTH_JWKS_URL: 'http://auth.test/jwks.json' };
  const { auth } = readConfig(published);
  t.deepEqual([auth.publicKeyPem, auth.jwksUrl, auth.jwksReloadS], [undefined, 'http://auth.test/jwks.json', 300]);
  const withoutTls = 'BILLING_AUTH_JWKS_URL has to be a URL that starts with https://';
  t.false(problemsOf(published).includes(withoutTls));
  t.true(problemsOf({ ...published, NODE_ENV: 'production' }).includes(withoutTls));
  t.is(problemsOf({ ...complete, BILLING_AUTH_JWKS_URL: 'http://auth.test/jwks.json' }).length, 1);
  t.is(problemsOf(without).length, 1);
});

test('TLS takes a certificate and its key, both or neither', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'billing-tls-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const write = (name: string, text: string) => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  const [ours, another] = [createSelfSigned(), createSelfSigned()];
  const certificate = write('cert.pem', ours.certificatePem);
  const tls = (cert: string | undefined, key: string | undefined) => ({
    ...complete,
    BILLING_TLS_CERT_FILE: cert,
    BILLING_TLS_KEY_FILE: key,
  });
  t.is(readConfig(complete).tls, undefined);
  t.deepEqual(readConfig(tls(certificate, write('key.pem', ours.keyPem))).tls, ours);
  const wrong: [env: Record<string, string | undefined>, problem: RegExp][] = [
    [tls(certificate, undefined), /go together/],
    [tls(undefined, certificate), /go together/],
    [tls(certificate, '/nowhere/key.pem'), /^BILLING_TLS_KEY_FILE: \/nowhere\/key\.pem cannot be read$/],
    [tls(certificate, write('other.pem', another.keyPem)), /does not hold the key of the certificate/],
    [tls(certificate, certificate), /have to hold a certificate and its private key/],
  ];
  for (const [env, problem] of wrong) {
    t.is(problemsOf(env).length, 1);
    t.regex(problemsOf(env)[0]!, problem);
  }
});

test('origins are listed one by one, never all at once', (t) => {
  t.deepEqual([...readConfig(complete).corsOrigins], []);
  const config = readConfig({ ...complete, BILLING_CORS_ORIGINS: 'https://shop.cinema, http://localhost:5173' });
  t.deepEqual([...config.corsOrigins], ['https://shop.cinema', 'http://localhost:5173']);
  for (const origins of ['*', 'null', 'shop.cinema', 'https://shop.cinema/', 'https://*.cinema', 'file://', ',']) {
    t.regex(problemsOf({ ...complete, BILLING_CORS_ORIGINS: origins }).join(), /BILLING_CORS_ORIGINS/, origins);
  }
});

test('an offset is not a time zone', (t) => {
  for (const zone of ['+03:00', 'Mars/Olympus', '3']) {
    t.regex(problemsOf({ ...complete, BILLING_TIME_ZONE: zone }).join(), /BILLING_TIME_ZONE has to be an IANA/, zone);
  }
  t.is(readConfig({ ...complete, BILLING_TIME_ZONE: 'Europe/Moscow' }).timeZone, 'Europe/Moscow');
});

test('an empty variable counts as unset', (t) => {
  t.is(readConfig({ ...complete, BILLING_PORT: '' }).httpPort, 8080);
  t.deepEqual(problemsOf({ ...complete, BILLING_NATS_URL: ' ' }), ['BILLING_NATS_URL is not set']);
});

test('the audience is switched off only by the word none', (t) => {
  t.is(readConfig({ ...complete, BILLING_AUTH_AUDIENCE: 'none' }).auth.audience, undefined);
  t.deepEqual(problemsOf({ ...complete, BILLING_AUTH_AUDIENCE: '' }), ['BILLING_AUTH_AUDIENCE is not set']);
});

test('a number with anything else in it is not a port', (t) => {
  for (const port of ['8080x', '-1', '80.5', '0x50', '65536']) {
    t.regex(problemsOf({ ...complete, BILLING_PORT: port }).join(), /BILLING_PORT/, port);
  }
});

test('without an issuer there is no panel; in production it is https', (t) => {
  t.is(readConfig(complete).admin, undefined);
  t.deepEqual(readConfig({ ...complete, BILLING_ADMIN_OIDC_ISSUER: 'http://127.0.0.1:7000' }).admin, {
    oidc: { issuer: 'http://127.0.0.1:7000', clientId: 'cinema-billing-admin', scope: 'openid profile' },
    sandboxAuthUrl: undefined,
  });
  const production = { ...complete, NODE_ENV: 'production', BILLING_ADMIN_OIDC_ISSUER: 'http://sign-in.cinema' };
  t.regex(problemsOf(production).join(), /BILLING_ADMIN_OIDC_ISSUER has to be a URL that starts with https/);
});
