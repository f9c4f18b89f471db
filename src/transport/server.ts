import type { Server as HttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ServerCredentials, type Server as GrpcServer } from '@grpc/grpc-js';
import type { Logger } from 'pino';
import type { TokenVerifier } from '../identity/verify-token.ts';
import type { BillingError } from '../lib/billing-error.ts';
import type { AdminSite } from './admin-site.ts';
import { createDispatcher } from './dispatch.ts';
import { createGrpcServer } from './grpc-server.ts';
import { createHealth, type Readiness } from './health.ts';
import { createHttpServer, type TlsIdentity } from './http-server.ts';
import type { RateLimits } from './rate-limit.ts';
import { addReflection } from './reflection.ts';
import type { Router } from './router.ts';

export interface TransportOptions {
  readonly router: Router;
  readonly verifier: TokenVerifier;
  readonly log: Logger;
  readonly host: string;
  /** 0 for any free port. */
  readonly httpPort: number;
  /** 0 for any free port. */
  readonly grpcPort: number;
  /** Whether grpcurl may ask for the contracts. */
  readonly reflection: boolean;
  readonly readiness: Readiness;
  readonly rateLimits: RateLimits;
  /** For both listeners; without it, clear text. */
  readonly tls: TlsIdentity | undefined;
  /** Pages of these origins may call over HTTP. */
  readonly corsOrigins: ReadonlySet<string>;
  /** Operators' panel under /admin. */
  readonly adminSite?: AdminSite | undefined;
  /** Names errors that are not BillingErrors but that a caller should know: a database that is away. */
  readonly describeUnknownError?: (thrown: unknown) => BillingError | undefined;
}

export interface Transport {
  /** Listens on both ports. Throws an Error of one line when a port cannot be had; nothing listens then. */
  start(): Promise<{ httpPort: number; grpcPort: number }>;
  /**
   * Refuses new calls, waits at most `drainMs` for the running ones, then closes both listeners. Resolves with false
   * when some calls were still running.
   */
  stop(drainMs: number): Promise<boolean>;
}

/** How long connections get to take their last answers with them. */
const closeGraceMs = 1_000;

/** Both listeners over one pipeline. Throws when a rule of the contracts cannot be served. */
export function createTransport(options: TransportOptions): Transport {
  const { router, verifier, log, host } = options;
  const { describeUnknownError, rateLimits, tls, corsOrigins, adminSite } = options;
  const dispatcher = createDispatcher({ verifier, validator: router.validator, log, rateLimits, describeUnknownError });
  const serviceNames = router.services.map((service) => service.typeName);
  const health = createHealth(options.readiness, serviceNames, log);
  const grpcServer = createGrpcServer(router, dispatcher);
  health.addToGrpc(grpcServer);
  if (options.reflection) addReflection(grpcServer, router.services);
  const httpServer = createHttpServer(router, dispatcher, health, { tls, corsOrigins, adminSite });

  let boundGrpcAddress: string | undefined;

  return {
    async start() {
      const grpcPort = await listenGrpc(grpcServer, host, options.grpcPort, grpcCredentials(tls));
      boundGrpcAddress = grpcAddress(host, grpcPort);
      try {
        const httpPort = await listenHttp(httpServer, host, options.httpPort);
        await health.watch();
        log.info({ host, httpPort, grpcPort }, 'listening');
        return { httpPort, grpcPort };
      } catch (error) {
        grpcServer.forceShutdown();
        throw error;
      }
    },
    async stop(drainMs) {
      health.stop();
      const drained = await dispatcher.drain(drainMs);
      if (boundGrpcAddress === undefined) return drained;
      await Promise.all([closeGrpc(grpcServer, boundGrpcAddress), closeHttp(httpServer)]);
      return drained;
    },
  };
}

function grpcCredentials(tls: TlsIdentity | undefined): ServerCredentials {
  if (tls === undefined) return ServerCredentials.createInsecure();
  const pair = { cert_chain: Buffer.from(tls.certificatePem), private_key: Buffer.from(tls.keyPem) };
  return ServerCredentials.createSsl(null, [pair]);
}

function listenGrpc(server: GrpcServer, host: string, port: number, secured: ServerCredentials): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(grpcAddress(host, port), secured, (error, boundPort) => {
      if (error)
        reject(new Error(`cannot listen for gRPC on ${host} port ${port}: ${error.message}`, { cause: error }));
      else resolve(boundPort);
    });
  });
}

function listenHttp(server: HttpServer, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const refuse = (cause: Error) =>
      reject(new Error(`cannot listen for HTTP on ${host} port ${port}: ${cause.message}`, { cause }));
    server.once('error', refuse);
    server.listen(port, host, () => {
      server.off('error', refuse);
      resolve((server.address() as AddressInfo).port);
    });
  });
}

/** An IPv6 address stands in brackets before a port. */
function grpcAddress(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** `address` as it was bound. Not forceShutdown: with channelz off, grpc-js 1.14 leaves the connections open there. */
function closeGrpc(server: GrpcServer, address: string): Promise<void> {
  return new Promise((resolve) => {
    server.drain(address, closeGraceMs);
    server.tryShutdown(() => resolve());
  });
}

function closeHttp(server: HttpServer): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => server.closeAllConnections(), closeGraceMs);
    server.close(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}
