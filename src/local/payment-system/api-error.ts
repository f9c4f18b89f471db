export type ApiErrorType = 'authentication_error' | 'invalid_request_error' | 'idempotency_error' | 'api_error';

/** A refused call: nothing was executed and its idempotency key stays free. The message is for the caller. */
export class ApiError extends Error {
  readonly status: number;
  readonly type: ApiErrorType;
  readonly code: string;

  constructor(status: number, code: string, message: string, type: ApiErrorType = 'invalid_request_error') {
    super(message);
    this.status = status;
    this.type = type;
    this.code = code;
  }
}

/** The refusal of something that is not there: `no such payment: pay_…`. */
export function notFound(what: string): ApiError {
  return new ApiError(404, 'not_found', `no such ${what}`);
}
