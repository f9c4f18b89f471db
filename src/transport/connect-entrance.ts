import type { IncomingMessage, ServerResponse } from 'node:http';
import type { DescMethodUnary } from '@bufbuild/protobuf';
import { MethodOptions_IdempotencyLevel } from '@bufbuild/protobuf/wkt';
import { ConnectError, createConnectRouter, createContextKey, createContextValues } from '@connectrpc/connect';
import { compressionGzip } from '@connectrpc/connect-node';
import {
  createAsyncIterable,
  encodeEnvelope,
  type UniversalHandler,
  type UniversalServerResponse,
} from '@connectrpc/connect/protocol';
import { codeToHttpStatus, errorToJsonBytes } from '@connectrpc/connect/protocol-connect';
import { setTrailerStatus, trailerFlag, trailerSerialize } from '@connectrpc/connect/protocol-grpc-web';
import type { BillingError } from '../lib/billing-error.ts';
import type { Incoming } from './call.ts';
import type { Dispatcher } from './dispatch.ts';
import { errorDetails, statusOfKind } from './errors.ts';
import { sendError } from './http-answer.ts';
import { readBody, readDeadlineMs, readIncoming } from './http-request.ts';
import { bodyBytesMax } from './limits.ts';
import {
  bodyTooLarge,
  encodingUnsupported,
  httpMethodNotAllowed,
  malformedMessage,
  mediaTypeUnsupported,
  protocolHeaderMissing,
} from './refusals.ts';
import type { Method, Router } from './router.ts';

/** Answers one HTTP request; never rejects for what a caller did. */
export type HttpHandler = (req: IncomingMessage, res: ServerResponse) => Promise<void>;

/** Travels through the library beside the request. */
interface Passage {
  readonly incoming: Incoming;
  /** False at the end when the library refused the request before our implementation was called. */
  dispatched: boolean;
}

const passageKey = createContextKey<Passage | undefined>(undefined);
/** All that the library reads of a request's headers; ours are read from the request itself. */
const libraryHeaders = [
  'content-type',
  'content-encoding',
  'accept-encoding',
  'connect-protocol-version',
  'grpc-encoding',
  'grpc-accept-encoding',
];
/** gRPC-Web writes flags and length before the message. */
const envelopeBytes = 5;

/**
 * Connect and gRPC-Web over HTTP/1.1: one handler per RPC path. The codecs are the library's; the adapter is ours,
 * because connectNodeAdapter answers what it cannot decode without details, and undecodable binary as INTERNAL.
 */
export function createConnectEntrance(router: Router, dispatcher: Dispatcher): Map<string, HttpHandler> {
  const connectRouter = createConnectRouter({
    grpc: false,
    requireConnectProtocolHeader: true,
    readMaxBytes: bodyBytesMax,
    acceptCompression: [compressionGzip],
  });
  for (const method of router.methods) {
    // The router takes unary RPCs only.
    connectRouter.rpc(method.desc as DescMethodUnary, async (request, context) => {
      const passage = context.values.get(passageKey)!;
      passage.dispatched = true;
      try {
        return await dispatcher.dispatch(method, request, passage.incoming);
      } catch (error) {
        throw toConnectError(error as BillingError, passage.incoming.callId);
      }
    });
  }
  const methods = new Map(router.methods.map((method) => [`/${method.name}`, method]));
  return new Map(
    connectRouter.handlers.map((handler) => [
      handler.requestPath,
      createHandler(handler, methods.get(handler.requestPath)!, dispatcher),
    ]),
  );
}

function createHandler(handler: UniversalHandler, method: Method, dispatcher: Dispatcher): HttpHandler {
  const readOnly = method.desc.idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS;
  return async (req, res) => {
    const type = req.headers['content-type'] ?? '';
    const isGrpcWeb = type.startsWith('application/grpc-web');
    const isGet = req.method === 'GET' && readOnly;
    const arrived = readIncoming(req, isGrpcWeb ? 'grpc-web' : 'connect');
    if (req.method !== 'POST' && !isGet) {
      res.setHeader('allow', readOnly ? 'GET, POST' : 'POST');
      return sendError(res, dispatcher.refuse(httpMethodNotAllowed(), method.name, arrived), arrived.callId);
    }
    if (!isGet && !handler.supportedContentType(type)) {
      return sendError(res, dispatcher.refuse(mediaTypeUnsupported(), method.name, arrived), arrived.callId);
    }
    let response: UniversalServerResponse;
    try {
      response = await callLibrary(handler, req, arrived, isGet);
    } catch (thrown) {
      const error = dispatcher.refuse(thrown, method.name, arrived);
      const connectError = toConnectError(error, arrived.callId);
      response = isGrpcWeb ? grpcWebRefusal(connectError, type) : connectRefusal(connectError);
    }
    await send(res, response);
  };
}

/** Throws a BillingError for everything that ends before dispatch. */
async function callLibrary(
  handler: UniversalHandler,
  req: IncomingMessage,
  arrived: Incoming,
  isGet: boolean,
): Promise<UniversalServerResponse> {
  checkProtocol(req, arrived, isGet);
  const passage: Passage = { incoming: { ...arrived, deadlineMs: readDeadlineMs(arrived) }, dispatched: false };
  const header = new Headers();
  for (const name of libraryHeaders) {
    const value = req.headers[name];
    if (typeof value === 'string') header.set(name, value);
  }
  const response = await handler({
    httpVersion: req.httpVersion,
    method: req.method!,
    // Only the path and the query are read; a Host header of the caller's making stays out of it.
    url: `http://localhost${req.url}`,
    header,
    body: createAsyncIterable([await readBody(req, arrived.entrance === 'grpc-web' ? envelopeBytes : 0)]),
    signal: new AbortController().signal,
    contextValues: createContextValues().set(passageKey, passage),
  });
  if (!passage.dispatched) throw await describeLibraryRefusal(response);
  return response;
}

function checkProtocol(req: IncomingMessage, { entrance, headers }: Incoming, isGet: boolean): void {
  if (entrance === 'connect') {
    const version = isGet ? new URLSearchParams(req.url!.split('?')[1]).get('connect') : undefined;
    if (isGet ? version !== 'v1' : headers['connect-protocol-version'] !== '1') throw protocolHeaderMissing();
  }
  const encoding = headers[entrance === 'connect' ? 'content-encoding' : 'grpc-encoding'];
  if (encoding !== undefined && encoding !== 'gzip' && encoding !== 'identity') throw encodingUnsupported();
}

/** The library refuses what it cannot read, and what is too large once decompressed. It says so in its own words. */
async function describeLibraryRefusal(response: UniversalServerResponse): Promise<BillingError> {
  const text = (await readAnswer(response)).toString('utf8');
  if (response.status === 429 || /grpc-status: ?8\b/.test(text)) return bodyTooLarge();
  try {
    return malformedMessage((JSON.parse(text) as { message?: string }).message);
  } catch {
    return malformedMessage();
  }
}

function toConnectError(error: BillingError, callId: string): ConnectError {
  const { code } = statusOfKind[error.kind];
  return new ConnectError(error.message, code, { 'x-request-id': callId }, errorDetails(error));
}

function connectRefusal(error: ConnectError): UniversalServerResponse {
  const header = new Headers(error.metadata);
  header.set('content-type', 'application/json');
  return { status: codeToHttpStatus(error.code), header, body: createAsyncIterable([errorToJsonBytes(error, {})]) };
}

function grpcWebRefusal(error: ConnectError, contentType: string): UniversalServerResponse {
  const trailer = trailerSerialize(setTrailerStatus(new Headers(), error));
  const body = createAsyncIterable([encodeEnvelope(trailerFlag, trailer)]);
  return { status: 200, header: new Headers({ 'content-type': contentType }), body };
}

async function send(res: ServerResponse, response: UniversalServerResponse): Promise<void> {
  const bytes = await readAnswer(response);
  res.statusCode = response.status;
  response.header?.forEach((value, name) => res.setHeader(name, value));
  res.end(bytes);
}

async function readAnswer({ body }: UniversalServerResponse): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body ?? []) chunks.push(chunk);
  return Buffer.concat(chunks);
}
