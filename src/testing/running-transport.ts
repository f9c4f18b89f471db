import { createRegistry, fromBinary, toBinary, toJson, type DescMethodUnary, type Message } from '@bufbuild/protobuf';
import { anyUnpack } from '@bufbuild/protobuf/wkt';
import { ConnectError, type Transport as ConnectTransport } from '@connectrpc/connect';
import { createConnectTransport, createGrpcWebTransport } from '@connectrpc/connect-node';
import { Client, credentials, Metadata, type CallOptions, type ServiceError } from '@grpc/grpc-js';
import { pino } from 'pino';
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from '@cinema-billing/gen/google/rpc/error_details_pb.ts';
import { StatusSchema } from '@cinema-billing/gen/google/rpc/status_pb.ts';
import { fixedKey } from '../identity/token-keys.ts';
import { createTokenVerifier } from '../identity/verify-token.ts';
import { createRouter, type Router } from '../transport/router.ts';
import { createTransport, type TransportOptions } from '../transport/server.ts';
import { createTestIssuer } from './tokens.ts';

/** What a caller got, written the same way for every way in: JSON of the answer, or the error with its details. */
export interface Outcome {
  answer?: unknown;
  error?: { code: number; message: string; details: unknown[] };
}

export interface CallSettings {
  token?: string | undefined;
  timeoutMs?: number;
  headers?: Record<string, string>;
}

/** Calls one RPC; the request may be any message of its input. */
export type Caller = (method: DescMethodUnary, request: Message, settings?: CallSettings) => Promise<Outcome>;

const detailTypes = createRegistry(ErrorInfoSchema, BadRequestSchema, RetryInfoSchema);

/** The real listeners on free ports of 127.0.0.1, with a test issuer's tokens and a log kept in memory. */
export async function startTestTransport(
  addServices: (router: Router) => void,
  overrides: Partial<TransportOptions> = {},
) {
  const issuer = createTestIssuer();
  const logLines: Record<string, unknown>[] = [];
  const log = pino({ level: 'debug' }, { write: (line) => logLines.push(JSON.parse(line) as Record<string, unknown>) });
  const router = createRouter();
  addServices(router);
  const { publicKeyPem, issuer: issuerName, audience } = issuer;
  const transport = createTransport({
    router,
    verifier: createTokenVerifier({ keys: fixedKey(publicKeyPem), issuer: issuerName, audience, lifetimeMaxS: 3600 }),
    log,
    host: '127.0.0.1',
    httpPort: 0,
    grpcPort: 0,
    reflection: true,
    readiness: async () => ({ database: true }),
    rateLimits: { viewerPerS: 0, operatorPerS: 0, servicePerS: 0, addressPerS: 0 },
    tls: undefined,
    corsOrigins: new Set(),
    ...overrides,
  });
  const { httpPort, grpcPort } = await transport.start();
  const url = `http://127.0.0.1:${httpPort}`;
  const grpcClient = new Client(`127.0.0.1:${grpcPort}`, credentials.createInsecure());
  const http = { baseUrl: url, httpVersion: '1.1' } as const;
  return {
    issuer,
    logLines,
    url,
    grpcPort,
    httpPort,
    grpcClient,
    transport,
    /** Every way in that carries any RPC. */
    callers: {
      grpc: grpcCaller(grpcClient),
      'Connect binary': connectCaller(createConnectTransport({ ...http, useBinaryFormat: true })),
      'Connect JSON': connectCaller(createConnectTransport({ ...http, useBinaryFormat: false })),
      'gRPC-Web': connectCaller(createGrpcWebTransport(http)),
    } satisfies Record<string, Caller>,
    async stop() {
      grpcClient.close();
      await transport.stop(1_000);
    },
  };
}

export type TestTransport = Awaited<ReturnType<typeof startTestTransport>>;

/** A grpc-js client made from the descriptors alone. */
function grpcCaller(client: Client): Caller {
  return (method, request, settings = {}) =>
    new Promise((resolve) => {
      const metadata = new Metadata();
      for (const [name, value] of Object.entries(headersOf(settings))) metadata.set(name, value);
      const options: CallOptions = {};
      if (settings.timeoutMs !== undefined) options.deadline = Date.now() + settings.timeoutMs;
      client.makeUnaryRequest(
        `/${method.parent.typeName}/${method.name}`,
        (message: Message) => Buffer.from(toBinary(method.input, message)),
        (bytes: Buffer) => fromBinary(method.output, bytes),
        request,
        metadata,
        options,
        (error, answer) => resolve(error ? { error: grpcError(error) } : { answer: toJson(method.output, answer!) }),
      );
    });
}

/** The error of a grpc-js client in the common form. */
export function grpcError(error: ServiceError): NonNullable<Outcome['error']> {
  const bytes = error.metadata.get('grpc-status-details-bin')[0];
  const details = bytes === undefined ? [] : fromBinary(StatusSchema, bytes as Buffer).details;
  const messages = details.map((detail) => anyUnpack(detail, detailTypes)!);
  return { code: error.code, message: error.details, details: messages.map(detailToJson) };
}

function connectCaller(transport: ConnectTransport): Caller {
  return async (method, request, settings = {}) => {
    try {
      const headers = headersOf(settings);
      const response = await transport.unary(method, undefined, settings.timeoutMs, headers, request);
      return { answer: toJson(method.output, response.message) };
    } catch (thrown) {
      const error = ConnectError.from(thrown);
      const details = error.findDetails(detailTypes).map(detailToJson);
      return { error: { code: error.code, message: error.rawMessage, details } };
    }
  };
}

function headersOf({ token, headers }: CallSettings): Record<string, string> {
  return { ...headers, ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) };
}

function detailToJson(detail: Message): unknown {
  return { type: detail.$typeName, ...(toJson(detailTypes.getMessage(detail.$typeName)!, detail) as object) };
}
