import { resolve } from 'node:path';
import { ConfigError } from './config.ts';
import { paymentProviders } from './payment-config.ts';

/** What `npm start` and the commands beside it (`demo`, `token`, `billing`) are told by the environment. */
export interface LocalConfig {
  /** 0 for any free port. */
  readonly httpPort: number;
  /** 0 for any free port. */
  readonly grpcPort: number;
  /** Absolute. */
  readonly dataDir: string;
  /** What is charged through: the sandbox payment system, or the double of a real one. */
  readonly paymentProvider: (typeof paymentProviders)[number];
  /** Variables of the service that somebody has set for this start; they win over the embedded default's own. */
  readonly serviceOverrides: Readonly<Record<string, string>>;
  /** What every program needs of its surroundings: PATH, HOME and the like. */
  readonly surroundings: Readonly<Record<string, string>>;
  /** Whether npm is the parent: then this process has no reason to outlive it. */
  readonly startedByNpm: boolean;
}

const overridable = new Set([
  'BILLING_ROLES',
  'BILLING_LOG_LEVEL',
  'BILLING_TIME_ZONE',
  'BILLING_LEASE_MARGIN_H',
  'BILLING_REFLECTION',
  'BILLING_TOKEN_LIFETIME_MAX_S',
  'BILLING_CORS_ORIGINS',
  'BILLING_RATE_LIMIT_VIEWER_PER_S',
  'BILLING_RATE_LIMIT_OPERATOR_PER_S',
  'BILLING_RATE_LIMIT_SERVICE_PER_S',
  'BILLING_RATE_LIMIT_ADDRESS_PER_S',
  'SANDBOX_PAYMENT_WEBHOOK_SECRET',
]);
const surroundings =
  /^(PATH|HOME|USER|LOGNAME|LANG|LC_[A-Z]+|TZ|TMPDIR|TEMP|TMP|NODE_OPTIONS|NODE_COMPILE_CACHE|(https?|no|all)_proxy)$/i;

type Environment = Readonly<Record<string, string | undefined>>;

/** Reads the environment of this process. Throws ConfigError. */
export function loadLocalConfig(): LocalConfig {
  return readLocalConfig(process.env);
}

/**
 * Reads BILLING_PORT, BILLING_GRPC_PORT and BILLING_DATA_DIR, and what a start hands on to the service. Throws
 * ConfigError with every problem at once. An empty variable counts as unset.
 */
export function readLocalConfig(env: Environment): LocalConfig {
  const problems: string[] = [];
  const provider = env['PAYMENT_PROVIDER']?.trim() || 'sandbox';
  if (!paymentProviders.some((name) => name === provider)) {
    problems.push(`PAYMENT_PROVIDER has to be one of: ${paymentProviders.join(', ')}; "npm start" takes one`);
  }
  const config: LocalConfig = {
    httpPort: port(env, 'BILLING_PORT', 8080, problems),
    grpcPort: port(env, 'BILLING_GRPC_PORT', 50_051, problems),
    dataDir: resolve(env['BILLING_DATA_DIR']?.trim() || '.local'),
    serviceOverrides: pick(env, (name) => overridable.has(name)),
    surroundings: pick(env, (name) => surroundings.test(name)),
    paymentProvider: paymentProviders.find((name) => name === provider) ?? 'sandbox',
    startedByNpm: Boolean(env['npm_lifecycle_event']),
  };
  if (config.httpPort === config.grpcPort && config.httpPort !== 0) {
    problems.push('BILLING_PORT and BILLING_GRPC_PORT have to differ');
  }
  const roles = config.serviceOverrides['BILLING_ROLES'];
  if (roles && !roles.split(',').some((role) => role.trim() === 'api')) {
    problems.push('BILLING_ROLES has to include api with "npm start"; "npm run serve" runs a service without it');
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return Object.freeze(config);
}

function port(env: Environment, name: string, otherwise: number, problems: string[]): number {
  const value = env[name]?.trim();
  if (!value) return otherwise;
  const number = /^[0-9]+$/.test(value) ? Number(value) : Number.NaN;
  if (!(number <= 65_535)) problems.push(`${name} has to be a whole number from 0 to 65535`);
  return number;
}

function pick(env: Environment, wanted: (name: string) => boolean): Record<string, string> {
  const found: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) if (value?.trim() && wanted(name)) found[name] = value;
  return found;
}
