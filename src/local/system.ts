import { join } from 'node:path';
import type { LocalConfig } from '../config/local-config.ts';
import { migrateDatabase } from '../db/migrate.ts';
import { buildAdmin } from './build-admin.ts';
import type { DataFolder } from './data-folder.ts';
import { plantPlans } from './demo-data.ts';
import { findNatsServer } from './find-nats-server.ts';
import type { Guarded } from './guard.ts';
import { keepPorts, keepSecrets, keptPorts, secretsFile, type Ports, type Secrets } from './kept-facts.ts';
import { startNats } from './nats.ts';
import type { Parts } from './parts.ts';
import { localPaymentSystems, type LocalProvider } from './payment-systems.ts';
import { freePort, freePortLike } from './ports.ts';
import { ensureDatabase, startPostgres } from './postgres.ts';
import { removeProcessMarks, waitForPredecessors, writeProcessMarks } from './process-marks.ts';
import { startProgram } from './program.ts';
import { removeRunningFile, writeRunningFile, type RunningFile } from './running-file.ts';
import { untilReady } from './until-ready.ts';

const database = 'billing';
/** In which the embedded default counts months: a customer of this cinema thinks in Moscow's days. */
const billingTimeZone = 'Europe/Moscow';
/** What the Auth double writes into its tokens. */
const [issuer, audience] = ['cinema-auth', 'cinema-billing'];

/** Tells a person what a part is doing; with the time it took when it has been started. */
export type Progress = (part: string, line: string) => void;

export interface SystemOptions {
  readonly config: LocalConfig;
  readonly folder: DataFolder;
  readonly parts: Parts;
  readonly progress: Progress;
  /** Without the data of earlier starts. */
  readonly isFresh: boolean;
}

interface Start extends SystemOptions {
  readonly secrets: Secrets;
  readonly ports: Ports;
}

/** Where everything is, as far as it is known before the service runs. */
type Places = Omit<RunningFile, 'pids'>;

/**
 * Starts everything, one after the other, and answers where it is. When the service says that it is ready, `demo` and
 * `token` find all they need. Throws LocalError, and Stopping when the parts are stopped meanwhile; what was started
 * stays in `parts`.
 */
export async function startSystem(options: SystemOptions): Promise<RunningFile> {
  const { config, folder, parts, progress } = options;
  await waitForPredecessors(marksFile(folder), (line) => progress('data folder', line));
  removeRunningFile(folder);
  if (options.isFresh) folder.empty();
  const start: Start = { ...options, secrets: keepSecrets(folder), ports: keptPorts(folder) };
  await buildAdmin(config.surroundings, (line) => progress('admin panel', line));
  const databaseUrl = await startDatabase(start);
  const natsUrl = await startBroker(start);
  const authUrl = await startAuth(start, natsUrl);
  // The payment system has to know where to call back before the service has a port.
  const httpPort = config.httpPort || (await freePort());
  const grpcPort = config.grpcPort || (await freePort());
  const httpUrl = `http://127.0.0.1:${httpPort}`;
  const paymentSystemUrl = await startPaymentSystem(start, `${httpUrl}/v1/webhooks/${config.paymentProvider}`);
  await timed(progress, 'database', 'schema and plans are there', async () => {
    await migrateDatabase(databaseUrl);
    await plantPlans(databaseUrl);
  });
  const places: Places = {
    httpUrl,
    grpcAddress: `127.0.0.1:${grpcPort}`,
    authUrl,
    paymentSystemUrl,
    databaseUrl,
    natsUrl,
    secretsFile: secretsFile(folder),
  };
  writeRunningFile(folder, { ...places, pids: pidsOf(parts) });
  await startService(start, places, httpPort, grpcPort);
  const running = { ...places, pids: pidsOf(parts) };
  writeRunningFile(folder, running);
  return running;
}

/** Forgets what a start has noted of itself; the data stays. */
export function forgetRun(folder: DataFolder): void {
  removeRunningFile(folder);
  removeProcessMarks(marksFile(folder));
}

async function startDatabase({ config, folder, parts, progress, secrets, ports }: Start): Promise<string> {
  const postgres = await timed(progress, 'PostgreSQL', 'runs', () =>
    startPostgres({
      folder: folder.path('postgres'),
      logFile: logFile(folder, 'postgres'),
      password: secrets.postgresPassword,
      preferredPort: ports.postgres,
      env: config.surroundings,
      progress: (line) => progress('PostgreSQL', line),
    }),
  );
  await register(folder, parts, postgres.server);
  keepPorts(folder, Object.assign(ports, { postgres: postgres.port }));
  await ensureDatabase(postgres, database);
  return postgres.url(database);
}

async function startBroker({ config, folder, parts, progress, ports }: Start): Promise<string> {
  const env = config.surroundings;
  const told = (line: string) => progress('NATS', line);
  const executable = await findNatsServer({ env, cacheDir: folder.cacheDir, progress: told });
  const nats = await timed(progress, 'NATS', 'runs', () =>
    startNats({
      executable,
      folder: folder.path('nats'),
      logFile: logFile(folder, 'nats'),
      preferredPort: ports.nats,
      env,
    }),
  );
  await register(folder, parts, nats.server);
  keepPorts(folder, Object.assign(ports, { nats: nats.port }));
  return nats.url;
}

async function startAuth({ config, folder, parts, progress, ports }: Start, natsUrl: string): Promise<string> {
  const port = await freePortLike(ports.auth);
  const { server, listening } = await timed(progress, 'Auth', 'runs', () =>
    startProgram<string>({
      name: 'Auth double',
      entry: join(import.meta.dirname, 'auth-double/main.ts'),
      env: {
        ...config.surroundings,
        AUTH_DOUBLE_PORT: String(port),
        AUTH_DOUBLE_DATA_DIR: folder.path('auth'),
        AUTH_DOUBLE_NATS_URL: natsUrl,
      },
      logFile: logFile(folder, 'auth'),
    }),
  );
  await register(folder, parts, server);
  keepPorts(folder, Object.assign(ports, { auth: port }));
  return listening;
}

async function startPaymentSystem(start: Start, webhookUrl: string): Promise<string> {
  const { config, folder, parts, progress, ports } = start;
  const system = localPaymentSystems[config.paymentProvider];
  const port = await freePortLike(ports.paymentSystem);
  const { server, listening } = await timed(progress, 'payment system', 'runs', () =>
    startProgram<string>({
      name: 'payment system',
      entry: system.entry,
      env: {
        ...config.surroundings,
        ...system.programEnv({
          port,
          dataDir: folder.path(folderOf(config.paymentProvider)),
          webhookUrl,
          ...keysOf(start),
        }),
      },
      logFile: logFile(folder, 'payment-system'),
    }),
  );
  await register(folder, parts, server);
  keepPorts(folder, Object.assign(ports, { paymentSystem: port }));
  return listening;
}

/** Each payment system has books of its own. */
function folderOf(provider: LocalProvider): string {
  return provider === 'sandbox' ? 'payment-system' : `${provider}-double`;
}

function keysOf({ config, secrets }: Start): { apiKey: string; webhookSecret: string } {
  const { paymentApiKey, paymentWebhookSecret: webhookSecret } = secrets;
  return { apiKey: localPaymentSystems[config.paymentProvider].apiKey(paymentApiKey), webhookSecret };
}

async function startService(start: Start, places: Places, httpPort: number, grpcPort: number): Promise<void> {
  const { config, folder, parts, progress, secrets } = start;
  const publicKey = await (await fetch(`${places.authUrl}/public-key.pem`)).text();
  await timed(progress, 'billing', 'is ready', async () => {
    const { server } = await startProgram({
      name: 'service',
      entry: join(import.meta.dirname, '../main.ts'),
      env: {
        ...config.surroundings,
        BILLING_HOST: '127.0.0.1',
        BILLING_PORT: String(httpPort),
        BILLING_GRPC_PORT: String(grpcPort),
        BILLING_DATABASE_URL: places.databaseUrl,
        BILLING_NATS_URL: places.natsUrl,
        BILLING_AUTH_PUBLIC_KEY: publicKey,
        BILLING_AUTH_ISSUER: issuer,
        BILLING_AUTH_AUDIENCE: audience,
        BILLING_TIME_ZONE: billingTimeZone,
        BILLING_SECRET: secrets.billingSecret,
        BILLING_ADMIN_OIDC_ISSUER: places.authUrl,
        BILLING_ADMIN_SANDBOX_AUTH_URL: places.authUrl,
        ...localPaymentSystems[config.paymentProvider].serviceEnv({
          url: places.paymentSystemUrl,
          returnUrl: `${places.httpUrl}/admin/`,
          ...keysOf(start),
        }),
        ...config.serviceOverrides,
      },
      logFile: logFile(folder, 'service'),
    });
    await register(folder, parts, server);
    await untilReady(`${places.httpUrl}/readyz`, server);
  });
}

/** What is stopped with the others from now on, and waited for by the next start should this one be killed. */
async function register(folder: DataFolder, parts: Parts, server: Guarded): Promise<void> {
  await parts.add(server);
  writeProcessMarks(
    marksFile(folder),
    parts.servers.map(({ pid }) => pid),
  );
}

async function timed<T>(progress: Progress, part: string, done: string, work: () => Promise<T>): Promise<T> {
  const startedAt = performance.now();
  const result = await work();
  progress(part, `${done} (${((performance.now() - startedAt) / 1_000).toFixed(1)} s)`);
  return result;
}

function pidsOf(parts: Parts): Record<string, number> {
  return Object.fromEntries(parts.servers.map(({ name, pid }) => [name, pid]));
}

function marksFile(folder: DataFolder): string {
  return folder.path('processes.json');
}

function logFile(folder: DataFolder, name: string): string {
  return folder.path('logs', `${name}.log`);
}
