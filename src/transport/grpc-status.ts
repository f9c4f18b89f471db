import { toBinary } from '@bufbuild/protobuf';
import { Metadata, status, type ServerInterceptor } from '@grpc/grpc-js';
import { StatusSchema } from '@cinema-billing/gen/google/rpc/status_pb.ts';
import { newId } from '../lib/ids.ts';
import type { BillingError } from '../lib/billing-error.ts';
import type { Incoming } from './call.ts';
import type { Dispatcher } from './dispatch.ts';
import { errorStatus } from './errors.ts';
import { bodyTooLarge, deadlineExceeded, deadlineInvalid, encodingUnsupported, malformedMessage } from './refusals.ts';

type GrpcCall = Parameters<ServerInterceptor>[1];
type OwnStatus = Parameters<GrpcCall['sendStatus']>[0];

/** The error as grpc-js sends it: code, text, and google.rpc.Status in the `grpc-status-details-bin` trailer. */
export function grpcStatus(error: BillingError, callId: string): { code: number; details: string; metadata: Metadata } {
  const body = errorStatus(error);
  const metadata = new Metadata();
  metadata.set('grpc-status-details-bin', Buffer.from(toBinary(StatusSchema, body)));
  metadata.set('x-request-id', callId);
  return { code: body.code, details: body.message, metadata };
}

/**
 * grpc-js ends some calls by itself, before any handler: too large, cannot be decompressed, deadline over. It sends
 * those statuses through `sendStatus` of the call that every interceptor is given, so replacing that one function
 * gives them our codes and details. A wrapping interceptor would not see them, and would cost every call.
 */
export function describeOwnStatuses(dispatcher: Dispatcher): ServerInterceptor {
  return (method, call) => {
    const send = call.sendStatus;
    call.sendStatus = function sendDescribed(own: OwnStatus) {
      const known = own.code === status.OK || own.metadata ? undefined : describe(own);
      if (known === undefined) return send.call(this, own);
      const incoming: Incoming = {
        entrance: 'grpc',
        callId: newId(),
        headers: {},
        deadlineMs: undefined,
        remoteAddress: call.getPeer(),
      };
      // Dispatch runs on the same deadline and writes that line itself.
      const error =
        own.code === status.DEADLINE_EXCEEDED
          ? deadlineExceeded()
          : dispatcher.refuse(known, method.path.slice(1), incoming);
      return send.call(this, grpcStatus(error, incoming.callId));
    };
    // The declared type asks for the wrapper class; grpc-js calls only the interface, which it gave us itself.
    return call as ReturnType<ServerInterceptor>;
  };
}

/** Undefined for a status that is not one of grpc-js's own about a request or an answer. */
function describe({ code, details }: OwnStatus): Error | undefined {
  const text = details ?? '';
  switch (code) {
    case status.RESOURCE_EXHAUSTED:
      return bodyTooLarge();
    case status.DEADLINE_EXCEEDED:
      return deadlineExceeded();
    case status.UNIMPLEMENTED:
      return text.includes('unsupported encoding') ? encodingUnsupported() : malformedMessage();
    case status.INTERNAL:
      if (text.includes('grpc-timeout')) return deadlineInvalid();
      return text.includes('decompress') ? malformedMessage() : new Error(text);
    default:
      return undefined;
  }
}
