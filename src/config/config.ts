import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { readPayments, type PaymentsConfig } from './payment-config.ts';
import { failPointNames, type FailPointName } from '../lib/fail-point.ts';

export type Role = 'api' | 'renewals' | 'relay';
const allRoles: readonly Role[] = ['api', 'renewals', 'relay'];
/** How every secret begins that `npm start` makes up for itself; production refuses such a one. */
export const localSecretPrefix = 'local-default-';
const productionSecretMinLength = 16;
const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const;

/** What the service runs with; frozen. */
export interface Config extends PaymentsConfig {
  readonly host: string;
  /** Connect, gRPC-Web, REST, webhooks; 0 for any free port. */
  readonly httpPort: number;
  /** 0 for any free port. */
  readonly grpcPort: number;
  readonly roles: ReadonlySet<Role>;
  readonly databaseUrl: string;
  readonly natsUrl: string;
  readonly auth: {
    /** Auth's key, or where it publishes its keys: exactly one of the two. */
    readonly publicKeyPem: string | undefined;
    readonly jwksUrl: string | undefined;
    readonly jwksReloadS: number;
    readonly issuer: string;
    /** Undefined where the operator has switched it off by the word `none`. */
    readonly audience: string | undefined;
    readonly tokenLifetimeMaxS: number;
  };
  /** IANA id. */
  readonly timeZone: string;
  readonly leaseMarginHours: number;
  /** Of this service alone: hashes that survive erasure are keyed with it, so it must never change. */
  readonly secret: string;
  readonly logLevel: (typeof logLevels)[number];
  /** Where this process is to die, for the crash tests; undefined outside of them. */
  readonly failPoint: FailPointName | undefined;
  /** Whether grpcurl may ask for the contracts. */
  readonly reflection: boolean;
  /** For both listeners; undefined for clear text. */
  readonly tls: { readonly certificatePem: string; readonly keyPem: string } | undefined;
  /** Pages of these origins may call over HTTP. */
  readonly corsOrigins: ReadonlySet<string>;
  /** Operators' panel under /admin; undefined for none. */
  readonly admin:
    | {
        /** Where operators sign in. */
        readonly oidc: { readonly issuer: string; readonly clientId: string; readonly scope: string };
        /** The Auth double, whose viewers the panel's shop window may be. */
        readonly sandboxAuthUrl: string | undefined;
      }
    | undefined;
  /**
   * Where the double of a payment system tells what it has to do: with it the sandbox's clock is there, beside a
   * payment system that is not the sandbox.
   */
  readonly sandboxActivityUrl: string | undefined;
  /** Calls per second and caller; 0 for no limit. */
  readonly rateLimits: {
    readonly viewerPerS: number;
    readonly operatorPerS: number;
    readonly servicePerS: number;
    readonly addressPerS: number;
  };
}

/** Everything that is wrong with the environment, a line each. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly problems: readonly string[];
  constructor(problems: readonly string[]) {
    super(['the configuration cannot be used:', ...problems.map((problem) => `  ${problem}`)].join('\n'));
    this.problems = problems;
  }
}

type Environment = Readonly<Record<string, string | undefined>>;

const sandboxVariable = 'BILLING_SANDBOX_ACTIVITY_URL';

/** Reads the environment of this process. Throws ConfigError. */
export function loadConfig(): Config {
  return readConfig(process.env);
}

/** Whether this process's environment is a service's: a tool then works on what it names, not on a local `npm start`. */
export function isServiceConfigured(): boolean {
  return Boolean(process.env['BILLING_DATABASE_URL']?.trim());
}

/** Reads an environment and reports every problem at once. Throws ConfigError. An empty variable counts as unset. */
export function readConfig(env: Environment): Config {
  const problems: string[] = [];
  const read = reader(env, problems);
  const config: Config = {
    host: read.text('BILLING_HOST', '127.0.0.1'),
    httpPort: read.integer('BILLING_PORT', 8080, 0, 65_535),
    grpcPort: read.integer('BILLING_GRPC_PORT', 50_051, 0, 65_535),
    roles: read.roles('BILLING_ROLES'),
    databaseUrl: read.url('BILLING_DATABASE_URL', ['postgres:', 'postgresql:']),
    natsUrl: read.url('BILLING_NATS_URL', ['nats:', 'tls:']),
    auth: {
      ...read.tokenKeys('BILLING_AUTH_PUBLIC_KEY', 'BILLING_AUTH_PUBLIC_KEY_FILE', 'BILLING_AUTH_JWKS_URL'),
      jwksReloadS: read.integer('BILLING_AUTH_JWKS_RELOAD_S', 300, 1, 3_600),
      issuer: read.text('BILLING_AUTH_ISSUER'),
      audience: audienceOf(read.text('BILLING_AUTH_AUDIENCE')),
      tokenLifetimeMaxS: read.integer('BILLING_TOKEN_LIFETIME_MAX_S', 3_600, 60, 86_400),
    },
    timeZone: read.timeZone('BILLING_TIME_ZONE', 'UTC'),
    leaseMarginHours: read.integer('BILLING_LEASE_MARGIN_H', 72, 0, 168),
    secret: read.text('BILLING_SECRET'),
    ...readPayments(read, env['NODE_ENV'] === 'production'),
    logLevel: read.oneOf('BILLING_LOG_LEVEL', logLevels, 'info'),
    failPoint: read.failPoint('BILLING_FAIL_POINT'),
    reflection: read.oneOf('BILLING_REFLECTION', ['on', 'off'] as const, 'on') === 'on',
    tls: read.tls('BILLING_TLS_CERT_FILE', 'BILLING_TLS_KEY_FILE'),
    corsOrigins: read.origins('BILLING_CORS_ORIGINS'),
    admin: read.admin(),
    sandboxActivityUrl: read.optional(sandboxVariable) && read.url(sandboxVariable, ['http:']),
    rateLimits: {
      viewerPerS: read.integer('BILLING_RATE_LIMIT_VIEWER_PER_S', 20, 0, 100_000),
      operatorPerS: read.integer('BILLING_RATE_LIMIT_OPERATOR_PER_S', 50, 0, 100_000),
      servicePerS: read.integer('BILLING_RATE_LIMIT_SERVICE_PER_S', 0, 0, 100_000),
      addressPerS: read.integer('BILLING_RATE_LIMIT_ADDRESS_PER_S', 1_000, 0, 100_000),
    },
  };
  const sandbox = config.payments.find(({ provider }) => provider === 'sandbox');
  if (env['NODE_ENV'] === 'production' && sandbox?.provider === 'sandbox') {
    problems.push('PAYMENT_PROVIDER=sandbox takes play money only and is refused with NODE_ENV=production');
    refuseWeakSecret('SANDBOX_PAYMENT_API_KEY', [sandbox.apiKey], problems);
    refuseWeakSecret('SANDBOX_PAYMENT_WEBHOOK_SECRET', sandbox.webhookSecrets, problems);
  }
  if (env['NODE_ENV'] === 'production') {
    refuseWeakSecret('BILLING_SECRET', [config.secret], problems);
  }
  if (config.sandboxActivityUrl !== undefined) refuseRealMoney(config, env, problems);
  if (problems.length > 0) throw new ConfigError(problems);
  Object.freeze(config.auth);
  Object.freeze(config.rateLimits);
  return Object.freeze(config);
}

/** Whoever moves the clock moves money: only where all of it is a double's. */
function refuseRealMoney({ payments, sandboxActivityUrl }: Config, env: Environment, problems: string[]): void {
  if (env['NODE_ENV'] === 'production') problems.push(`${sandboxVariable} is refused with NODE_ENV=production`);
  const urls = [...payments.map(({ baseUrl }) => baseUrl), sandboxActivityUrl ?? ''];
  const isHere = (url: string) => ['127.0.0.1', 'localhost', '[::1]'].includes(URL.parse(url)?.hostname ?? '');
  if (!urls.every(isHere)) {
    problems.push(`${sandboxVariable} needs payment systems on this machine: it is for doubles, not for real money`);
  }
}

function refuseWeakSecret(name: string, secrets: readonly string[], problems: string[]): void {
  const given = secrets.filter((secret) => secret !== '');
  if (given.some((secret) => secret.length < productionSecretMinLength)) {
    problems.push(`${name} needs at least ${productionSecretMinLength} characters with NODE_ENV=production`);
  }
  if (given.some((secret) => secret.startsWith(localSecretPrefix))) {
    problems.push(`${name} is one of the embedded default's and is refused with NODE_ENV=production`);
  }
}

function audienceOf(text: string): string | undefined {
  return text === 'none' ? undefined : text;
}

/** Functions that read one variable each; a problem is noted and something of the right type is returned. */
function reader(env: Environment, problems: string[]) {
  const optional = (name: string): string | undefined => env[name]?.trim() || undefined;

  function text(name: string, otherwise?: string): string {
    const value = optional(name) ?? otherwise;
    if (value === undefined) problems.push(`${name} is not set`);
    return value ?? '';
  }

  function integer(name: string, otherwise: number, min: number, max: number): number {
    const value = optional(name);
    if (value === undefined) return otherwise;
    const number = /^[0-9]+$/.test(value) ? Number(value) : Number.NaN;
    if (!(number >= min && number <= max)) problems.push(`${name} has to be a whole number from ${min} to ${max}`);
    return number;
  }

  function oneOf<const T extends string>(name: string, values: readonly T[], otherwise?: T): T {
    const value = text(name, otherwise);
    const found = values.find((known) => known === value);
    if (found === undefined && value !== '') problems.push(`${name} has to be one of: ${values.join(', ')}`);
    return found ?? values[0]!;
  }

  function url(name: string, protocols: readonly string[], otherwise?: string): string {
    const value = text(name, otherwise);
    const parsed = URL.canParse(value) ? new URL(value) : undefined;
    if (value !== '' && !(parsed && protocols.includes(parsed.protocol))) {
      problems.push(
        `${name} has to be a URL that starts with ${protocols.map((protocol) => `${protocol}//`).join(' or ')}`,
      );
    }
    return value;
  }

  function form(name: string, of: RegExp, what: string): string {
    const value = text(name);
    if (value !== '' && !of.test(value)) problems.push(`${name} has to be ${what}`);
    return value;
  }

  function list(name: string, of: RegExp, what: string, otherwise: readonly string[]): readonly string[] {
    const values =
      optional(name)
        ?.split(',')
        .map((value) => value.trim()) ?? otherwise;
    if (!values.every((value) => of.test(value))) problems.push(`${name} has to list ${what}, with commas`);
    return values;
  }

  function roles(name: string): ReadonlySet<Role> {
    const names = (optional(name) ?? allRoles.join(',')).split(',').map((role) => role.trim());
    const found = allRoles.filter((role) => names.includes(role));
    if (found.length !== new Set(names).size) problems.push(`${name} has to list some of: ${allRoles.join(', ')}`);
    return new Set(found);
  }

  function timeZone(name: string, otherwise: string): string {
    const value = text(name, otherwise);
    try {
      // Temporal takes offsets such as +03:00 too; those know no change of the clocks.
      if (!/^[A-Za-z]/.test(value)) throw new RangeError(value);
      Temporal.Now.instant().toZonedDateTimeISO(value);
    } catch {
      problems.push(`${name} has to be an IANA time zone, such as Europe/Moscow`);
    }
    return value;
  }

  function secrets(name: string): string[] {
    const value = text(name);
    const values = value.split(',').map((secret) => secret.trim());
    if (value !== '' && (values.length > 2 || values.includes(''))) {
      problems.push(`${name} takes one secret, or two with a comma between them while it is being changed`);
    }
    return values;
  }

  function tokenKeys(
    inlineName: string,
    fileName: string,
    urlName: string,
  ): { publicKeyPem: string | undefined; jwksUrl: string | undefined } {
    const [inline, file, jwksUrl] = [optional(inlineName), optional(fileName), optional(urlName)];
    if ([inline, file, jwksUrl].filter((value) => value !== undefined).length !== 1) {
      problems.push(
        `exactly one of ${inlineName}, ${fileName} and ${urlName} has to be set: Auth's RSA public key as PEM, or where Auth publishes its keys`,
      );
      return { publicKeyPem: undefined, jwksUrl: undefined };
    }
    if (jwksUrl !== undefined) {
      // Whoever can change the answer on its way can sign tokens.
      url(urlName, env['NODE_ENV'] === 'production' ? ['https:'] : ['https:', 'http:']);
      return { publicKeyPem: undefined, jwksUrl };
    }
    const publicKeyPem = inline?.replaceAll('\\n', '\n') ?? readText(fileName, file!);
    if (publicKeyPem !== '' && !/^-----BEGIN /m.test(publicKeyPem)) {
      problems.push(`${inline === undefined ? fileName : inlineName} does not hold a key as PEM`);
    }
    return { publicKeyPem, jwksUrl: undefined };
  }

  function tls(certificateName: string, keyName: string): Config['tls'] {
    const [certificateFile, keyFile] = [optional(certificateName), optional(keyName)];
    if (certificateFile === undefined && keyFile === undefined) return undefined;
    if (certificateFile === undefined || keyFile === undefined) {
      problems.push(`${certificateName} and ${keyName} go together: both have to be set, or neither`);
      return undefined;
    }
    const found = { certificatePem: readText(certificateName, certificateFile), keyPem: readText(keyName, keyFile) };
    if (found.certificatePem === '' || found.keyPem === '') return undefined;
    try {
      const certificate = new X509Certificate(found.certificatePem);
      if (!certificate.checkPrivateKey(createPrivateKey(found.keyPem))) {
        problems.push(`${keyName} does not hold the key of the certificate in ${certificateName}`);
      }
    } catch {
      problems.push(`${certificateName} and ${keyName} have to hold a certificate and its private key as PEM`);
    }
    return found;
  }

  function origins(name: string): ReadonlySet<string> {
    const values = (optional(name)?.split(',') ?? []).map((value) => value.trim());
    // `null` is what a sandboxed frame of anybody's calls itself, and `*` would be everybody.
    const isOrigin = (value: string) =>
      /^https?:\/\/[^*]+$/.test(value) && URL.canParse(value) && new URL(value).origin === value;
    if (!values.every(isOrigin)) problems.push(`${name} has to list origins such as https://shop.cinema, with commas`);
    return new Set(values);
  }

  function admin(): Config['admin'] {
    if (optional('BILLING_ADMIN_OIDC_ISSUER') === undefined) return undefined;
    const protocols = env['NODE_ENV'] === 'production' ? ['https:'] : ['https:', 'http:'];
    const issuer = url('BILLING_ADMIN_OIDC_ISSUER', protocols);
    const sandboxAuthUrl =
      optional('BILLING_ADMIN_SANDBOX_AUTH_URL') && url('BILLING_ADMIN_SANDBOX_AUTH_URL', protocols);
    const clientId = text('BILLING_ADMIN_OIDC_CLIENT_ID', 'cinema-billing-admin');
    return { oidc: { issuer, clientId, scope: text('BILLING_ADMIN_OIDC_SCOPE', 'openid profile') }, sandboxAuthUrl };
  }

  function failPoint(name: string): FailPointName | undefined {
    if (optional(name) === undefined) return undefined;
    if (env['NODE_ENV'] === 'production') problems.push(`${name} is for tests and is refused with NODE_ENV=production`);
    return oneOf(name, failPointNames);
  }

  function readText(name: string, path: string): string {
    try {
      return readFileSync(path, 'utf8');
    } catch {
      problems.push(`${name}: ${path} cannot be read`);
      return '';
    }
  }

  const problem = (what: string) => void problems.push(what);
  return {
    optional,
    problem,
    text,
    integer,
    oneOf,
    failPoint,
    url,
    form,
    list,
    roles,
    timeZone,
    secrets,
    tokenKeys,
    tls,
    origins,
    admin,
  };
}
