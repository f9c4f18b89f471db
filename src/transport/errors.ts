import { create, type DescMessage, type MessageInitShape, type MessageShape } from '@bufbuild/protobuf';
import { anyPack } from '@bufbuild/protobuf/wkt';
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from '@cinema-billing/gen/google/rpc/error_details_pb.ts';
import { StatusSchema, type Status } from '@cinema-billing/gen/google/rpc/status_pb.ts';
import { BillingError, type ErrorKind } from '../lib/billing-error.ts';
import { fieldViolationsMax } from './limits.ts';

/** The one table from what a caller can do about an error to the codes of google.rpc and HTTP. */
export const statusOfKind: Readonly<Record<ErrorKind, { code: number; name: string; http: number }>> = {
  invalid: { code: 3, name: 'INVALID_ARGUMENT', http: 400 },
  deadline: { code: 4, name: 'DEADLINE_EXCEEDED', http: 504 },
  'not-found': { code: 5, name: 'NOT_FOUND', http: 404 },
  exists: { code: 6, name: 'ALREADY_EXISTS', http: 409 },
  forbidden: { code: 7, name: 'PERMISSION_DENIED', http: 403 },
  exhausted: { code: 8, name: 'RESOURCE_EXHAUSTED', http: 429 },
  'wrong-state': { code: 9, name: 'FAILED_PRECONDITION', http: 400 },
  conflict: { code: 10, name: 'ABORTED', http: 409 },
  unimplemented: { code: 12, name: 'UNIMPLEMENTED', http: 501 },
  bug: { code: 13, name: 'INTERNAL', http: 500 },
  unavailable: { code: 14, name: 'UNAVAILABLE', http: 503 },
  unauthenticated: { code: 16, name: 'UNAUTHENTICATED', http: 401 },
};

const errorDomain = 'billing';
const fieldPathLengthMax = 200;

/** One entry of google.rpc.Status.details, before packing. */
export interface ErrorDetail<Desc extends DescMessage = DescMessage> {
  desc: Desc;
  value: MessageShape<Desc>;
}

/**
 * The error that the caller gets for anything thrown. What is not meant for callers becomes INTERNAL with a constant
 * text and the original as its cause, for the log; `describeUnknown` may name what it recognises (a lost database).
 */
export function toCallerError(
  thrown: unknown,
  describeUnknown?: (thrown: unknown) => BillingError | undefined,
): BillingError {
  const known = thrown instanceof BillingError ? thrown : describeUnknown?.(thrown);
  if (known !== undefined && known.kind !== 'bug') return known;
  return new BillingError('bug', 'INTERNAL', 'internal error', { cause: thrown });
}

/** What every way in sends beside code and text: ErrorInfo always, BadRequest and RetryInfo where there is something. */
export function errorDetails(error: BillingError): ErrorDetail[] {
  const details: ErrorDetail[] = [
    detail(ErrorInfoSchema, { reason: error.reason, domain: errorDomain, metadata: error.metadata }),
  ];
  if (error.fieldViolations.length > 0) {
    const fieldViolations = error.fieldViolations
      .slice(0, fieldViolationsMax)
      .map(({ field, description }) => ({ field: field.slice(0, fieldPathLengthMax), description }));
    details.push(detail(BadRequestSchema, { fieldViolations }));
  }
  if (error.retryDelayMs !== undefined) {
    const seconds = Math.floor(error.retryDelayMs / 1000);
    const nanos = Math.round((error.retryDelayMs % 1000) * 1_000_000);
    details.push(detail(RetryInfoSchema, { retryDelay: { seconds: BigInt(seconds), nanos } }));
  }
  return details;
}

/** The error as google.rpc.Status: the body of gRPC's trailer and of REST's JSON. */
export function errorStatus(error: BillingError): Status {
  return create(StatusSchema, {
    code: statusOfKind[error.kind].code,
    message: error.message,
    details: errorDetails(error).map(({ desc, value }) => anyPack(desc, value)),
  });
}

function detail<Desc extends DescMessage>(desc: Desc, init: MessageInitShape<Desc>): ErrorDetail {
  return { desc, value: create(desc, init) };
}
