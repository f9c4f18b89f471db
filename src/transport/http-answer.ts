import type { ServerResponse } from 'node:http';
import { createRegistry, toJson, type JsonObject } from '@bufbuild/protobuf';
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from '@cinema-billing/gen/google/rpc/error_details_pb.ts';
import { StatusSchema } from '@cinema-billing/gen/google/rpc/status_pb.ts';
import type { BillingError } from '../lib/billing-error.ts';
import { errorStatus, statusOfKind } from './errors.ts';

const detailTypes = createRegistry(ErrorInfoSchema, BadRequestSchema, RetryInfoSchema);

/** Where plain HTTP has a status of its own for a reason. */
const httpStatusOfReason: Readonly<Partial<Record<string, number>>> = {
  PATH_NOT_FOUND: 404,
  HTTP_METHOD_NOT_ALLOWED: 405,
  BODY_TOO_LARGE: 413,
  MEDIA_TYPE_UNSUPPORTED: 415,
};

/** Answers with JSON text. */
export function sendJson(res: ServerResponse, httpStatus: number, json: string): void {
  res.statusCode = httpStatus;
  res.setHeader('content-type', 'application/json');
  res.end(json);
}

/** Answers as Google's REST APIs do: `{ error: { code, status, message, details } }`, `code` being the HTTP status. */
export function sendError(res: ServerResponse, error: BillingError, callId: string | undefined): void {
  const { name, http } = statusOfKind[error.kind];
  const httpStatus = httpStatusOfReason[error.reason] ?? http;
  const body = toJson(StatusSchema, errorStatus(error), { registry: detailTypes }) as JsonObject;
  if (callId !== undefined) res.setHeader('x-request-id', callId);
  if (httpStatus === 401) res.setHeader('www-authenticate', 'Bearer');
  if (error.retryDelayMs !== undefined) res.setHeader('retry-after', Math.ceil(error.retryDelayMs / 1000));
  sendJson(res, httpStatus, JSON.stringify({ error: { ...body, code: httpStatus, status: name } }));
}
