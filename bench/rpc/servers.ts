import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from '../../src/local/ports.ts';
import { startGuarded } from '../../src/local/guard.ts';
import { createTestIssuer } from '../../src/testing/tokens.ts';
import { waitUntil } from '../../src/testing/wait-until.ts';
import type { BenchEnvironment } from '../bench.ts';

/** Of /proc/…/stat: 100 a second on every Linux. */
const tickUs = 10_000;
const startTimeoutMs = 30_000;

/** A server that stands through all rounds. */
export interface BenchServer {
  /** Its own processor time so far, user and system, of all its threads; µs. */
  cpuUs(): number;
  stop(): Promise<void>;
}

/** Starts a program of ours in a process of its own and waits until the port answers. */
export async function startServer(
  bench: BenchEnvironment,
  name: string,
  program: string,
  { args = [], env = {}, profiled = false, port }: ServerOptions,
): Promise<BenchServer> {
  const profile = profiled && bench.profileDir ? ['--cpu-prof', `--cpu-prof-dir=${bench.profileDir}`] : [];
  if (bench.profileDir) mkdirSync(bench.profileDir, { recursive: true });
  const server = await startGuarded({
    name,
    command: process.execPath,
    args: [...profile, program, ...args],
    env: { PATH: process.env['PATH'] ?? '', ...env },
    // As in production: every call's line is really written.
    logFile: join(bench.dir, `${name}.log`),
  });
  await waitUntil(
    `${name} listens`,
    async () => {
      if (!server.isRunning()) throw new Error(`${name} ended: ${server.lastLines().join('\n')}`);
      return fetch(`http://127.0.0.1:${port}/livez`).then(
        () => true,
        // A gRPC listener speaks no HTTP/1.1, but it is there.
        (error: Error & { cause?: { code?: string } }) => error.cause?.code !== 'ECONNREFUSED',
      );
    },
    startTimeoutMs,
  );
  return {
    cpuUs() {
      const fields = readFileSync(`/proc/${server.pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
      return (Number(fields[11]) + Number(fields[12])) * tickUs;
    },
    stop: async () => void (await server.stop()),
  };
}

interface ServerOptions {
  args?: readonly string[];
  env?: Readonly<Record<string, string>>;
  profiled?: boolean;
  port: number;
}

export interface ServiceUnderLoad extends BenchServer {
  readonly grpcPort: number;
  readonly httpPort: number;
  /** A token of a service with this scope, or of an operator, good for an hour. */
  token(claims: { scope: string } | { role: string }): string;
}

/** The service as `npm run serve` runs it, with the api role alone and without rate limits. */
export async function startServiceUnderLoad(bench: BenchEnvironment, databaseUrl: string): Promise<ServiceUnderLoad> {
  const issuer = createTestIssuer();
  const [grpcPort, httpPort] = [await freePort(), await freePort()];
  const limits = ['VIEWER', 'OPERATOR', 'SERVICE', 'ADDRESS'].map((who) => [`BILLING_RATE_LIMIT_${who}_PER_S`, '0']);
  const env = {
    BILLING_ROLES: 'api',
    BILLING_GRPC_PORT: String(grpcPort),
    BILLING_PORT: String(httpPort),
    BILLING_DATABASE_URL: databaseUrl,
    BILLING_NATS_URL: 'nats://127.0.0.1:1',
    BILLING_AUTH_PUBLIC_KEY: issuer.publicKeyPem,
    BILLING_AUTH_ISSUER: issuer.issuer,
    BILLING_AUTH_AUDIENCE: issuer.audience,
    BILLING_SECRET: 'of the bench',
    PAYMENT_PROVIDER: 'sandbox',
    SANDBOX_PAYMENT_URL: 'http://127.0.0.1:1',
    SANDBOX_PAYMENT_API_KEY: 'of the bench',
    SANDBOX_PAYMENT_WEBHOOK_SECRET: 'of the bench',
    ...Object.fromEntries(limits),
  };
  const program = join(import.meta.dirname, '../../src/main.ts');
  const server = await startServer(bench, 'service', program, { env, profiled: true, port: httpPort });
  return {
    ...server,
    grpcPort,
    httpPort,
    token: (claims) => issuer.token({ sub: 'bench', expiresInS: 3_500, ...claims }),
  };
}
