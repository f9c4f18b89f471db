import { fromBinary, toBinary, type DescService, type Message } from '@bufbuild/protobuf';
import {
  logVerbosity,
  Server,
  setLogVerbosity,
  type handleUnaryCall,
  type Metadata,
  type MethodDefinition,
  type ServerUnaryCall,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import type { BillingError } from '../lib/billing-error.ts';
import { callIdOf, type Incoming, type RequestHeaders } from './call.ts';
import type { Dispatcher } from './dispatch.ts';
import { describeOwnStatuses, grpcStatus } from './grpc-status.ts';
import { encodeAnswer } from './kept-answer.ts';
import { bodyBytesMax, concurrentStreamsMax, headerBytesMax } from './limits.ts';
import { headersTooLarge, malformedMessage } from './refusals.ts';
import type { Method, Router } from './router.ts';

type GrpcCall = ServerUnaryCall<Buffer, Message>;

/** A gRPC server with all services of the router; health and reflection are added by others. Not yet listening. */
export function createGrpcServer(router: Router, dispatcher: Dispatcher): Server {
  // grpc-js writes to stderr on its own, header values included: a token must not end up there.
  setLogVerbosity(logVerbosity.NONE);
  const server = new Server({
    'grpc.max_receive_message_length': bodyBytesMax,
    'grpc.max_concurrent_streams': concurrentStreamsMax,
    'grpc.enable_channelz': 0,
    interceptors: [describeOwnStatuses(dispatcher)],
  });
  for (const service of router.services) {
    const methods = router.methods.filter((method) => method.desc.parent === service);
    const handlers = methods.map((method) => [method.desc.name, unaryHandler(method, dispatcher)]);
    server.addService(grpcServiceDefinition(service), Object.fromEntries(handlers) as UntypedServiceImplementation);
  }
  return server;
}

/**
 * What grpc-js knows of a service. Requests are left as bytes: one that cannot be decoded is the caller's mistake, and
 * grpc-js would call it INTERNAL.
 */
function grpcServiceDefinition(service: DescService): ServiceDefinition {
  const definitions = service.methods.map((method): [string, MethodDefinition<Message, Message>] => [
    method.name,
    {
      path: `/${service.typeName}/${method.name}`,
      requestStream: false,
      responseStream: false,
      requestDeserialize: (bytes) => bytes as unknown as Message,
      responseSerialize: (answer) => encodeAnswer(method.output, answer),
      // Of a client's half; grpc-js asks for all four.
      requestSerialize: (request) => toBuffer(toBinary(method.input, request)),
      responseDeserialize: (bytes) => fromBinary(method.output, bytes),
    },
  ]);
  return Object.fromEntries(definitions);
}

function unaryHandler(method: Method, dispatcher: Dispatcher): handleUnaryCall<Buffer, Message> {
  return async (call, callback) => {
    const incoming = readIncoming(call);
    try {
      callback(null, await dispatcher.dispatch(method, readMessage(method, call, incoming, dispatcher), incoming));
    } catch (error) {
      callback(grpcStatus(error as BillingError, incoming.callId));
    }
  };
}

/** Throws a BillingError that is already logged, as dispatch does. */
function readMessage(method: Method, call: GrpcCall, incoming: Incoming, dispatcher: Dispatcher): Message {
  if (headerBytes(incoming.headers) > headerBytesMax) {
    throw dispatcher.refuse(headersTooLarge(), method.name, incoming);
  }
  try {
    return fromBinary(method.desc.input, call.request);
  } catch (cause) {
    throw dispatcher.refuse(malformedMessage(undefined, cause), method.name, incoming);
  }
}

function readIncoming(call: GrpcCall): Incoming {
  const headers = readHeaders(call.metadata);
  const deadline = call.getDeadline();
  const deadlineMs = Number.isFinite(Number(deadline)) ? Number(deadline) : undefined;
  return { entrance: 'grpc', callId: callIdOf(headers), headers, deadlineMs, remoteAddress: addressOf(call.getPeer()) };
}

/** Text metadata only; HTTP/2 has joined what came twice. */
function readHeaders(metadata: Metadata): RequestHeaders {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(metadata.getMap())) {
    if (typeof value === 'string') headers[name] = value;
  }
  return headers;
}

/** grpc-js cannot limit headers itself; Node's HTTP/2 stops at 64 KiB. */
function headerBytes(headers: RequestHeaders): number {
  let bytes = 0;
  for (const [name, value] of Object.entries(headers)) bytes += name.length + (value?.length ?? 0);
  return bytes;
}

/** `127.0.0.1:50312` → `127.0.0.1` */
function addressOf(peer: string): string {
  const colon = peer.lastIndexOf(':');
  return colon === -1 ? peer : peer.slice(0, colon);
}

/** grpc-js copies with Buffer's own methods; this is a view, not a copy. */
function toBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
