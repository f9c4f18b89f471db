import {
  create,
  fromBinary,
  toBinary,
  type DescMethodUnary,
  type DescService,
  type MessageInitShape,
  type MessageShape,
} from '@bufbuild/protobuf';
import { anyUnpack } from '@bufbuild/protobuf/wkt';
import { ErrorInfoSchema } from '@cinema-billing/gen/google/rpc/error_details_pb.ts';
import { StatusSchema } from '@cinema-billing/gen/google/rpc/status_pb.ts';
import { Client, credentials, Metadata, status, type ServiceError } from '@grpc/grpc-js';

/** One function per unary RPC of a service. */
export type GrpcClient<Service extends DescService> = {
  [Name in keyof Service['method']]: Service['method'][Name] extends DescMethodUnary<infer Input, infer Output>
    ? (request: MessageInitShape<Input>, options?: CallOptions) => Promise<MessageShape<Output>>
    : never;
} & { close(): void };

export interface CallOptions {
  token?: string;
  /** How long to wait, 20 s when left out. */
  timeoutMs?: number;
}

/** What a call failed with: the code's name and the reason of the ErrorInfo that every error carries. */
export class RpcError extends Error {
  override readonly name = 'RpcError';
  readonly code: string;
  readonly reason: string;
  constructor(method: string, code: string, reason: string, text: string) {
    super(`${method}: ${code} ${reason}: ${text}`);
    this.code = code;
    this.reason = reason;
  }
}

const timeoutDefaultMs = 20_000;

/** A client of a service over plain gRPC, made from the contract alone. */
export function grpcClient<Service extends DescService>(service: Service, address: string): GrpcClient<Service> {
  const client = new Client(address, credentials.createInsecure());
  const calls = service.methods
    .filter((method): method is DescMethodUnary => method.methodKind === 'unary')
    .map((method) => [
      method.localName,
      (request: Record<string, unknown>, options?: CallOptions) => call(client, method, request, options),
    ]);
  return { ...Object.fromEntries(calls), close: () => client.close() } as GrpcClient<Service>;
}

function call(
  client: Client,
  method: DescMethodUnary,
  request: Record<string, unknown>,
  options: CallOptions = {},
): Promise<unknown> {
  const metadata = new Metadata();
  if (options.token !== undefined) metadata.set('authorization', `Bearer ${options.token}`);
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      `/${method.parent.typeName}/${method.name}`,
      (message: Record<string, unknown>) => Buffer.from(toBinary(method.input, create(method.input, message))),
      (bytes: Buffer) => fromBinary(method.output, bytes),
      request,
      metadata,
      { deadline: Date.now() + (options.timeoutMs ?? timeoutDefaultMs) },
      (error, response) => (error ? reject(rpcError(method.name, error)) : resolve(response)),
    );
  });
}

function rpcError(method: string, error: ServiceError): RpcError {
  const [details] = error.metadata?.get('grpc-status-details-bin') ?? [];
  const reasons = details instanceof Buffer ? fromBinary(StatusSchema, details).details : [];
  const info = reasons.map((detail) => anyUnpack(detail, ErrorInfoSchema)).find((found) => found !== undefined);
  return new RpcError(method, status[error.code], info?.reason ?? '', error.details);
}
