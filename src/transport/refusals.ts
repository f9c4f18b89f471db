import { BillingError } from '../lib/billing-error.ts';
import { bodyBytesMax, deadlineMaxMs, headerBytesMax } from './limits.ts';

// What transport itself has to say to callers. All of it is in docs/errors.md.

export function bodyTooLarge(): BillingError {
  return new BillingError('exhausted', 'BODY_TOO_LARGE', `a request is at most ${bodyBytesMax / 1024} KiB`);
}

export function headersTooLarge(): BillingError {
  return new BillingError('exhausted', 'HEADERS_TOO_LARGE', `headers are at most ${headerBytesMax / 1024} KiB`);
}

/** `why` is about the caller's own bytes: the decoder's words about JSON, nothing for binary. */
export function malformedMessage(why?: string, cause?: unknown): BillingError {
  const text = 'the request cannot be decoded';
  return new BillingError('invalid', 'MALFORMED_MESSAGE', why ? `${text}: ${why.slice(0, 300).toWellFormed()}` : text, {
    cause,
  });
}

export function encodingUnsupported(): BillingError {
  return new BillingError('unimplemented', 'ENCODING_UNSUPPORTED', 'this compression is not supported');
}

export function deadlineInvalid(): BillingError {
  return new BillingError('invalid', 'DEADLINE_INVALID', 'the timeout header cannot be read');
}

export function deadlineTooLong(): BillingError {
  return new BillingError('invalid', 'DEADLINE_TOO_LONG', `a deadline is at most ${deadlineMaxMs / 1000} s away`);
}

export function deadlineExceeded(): BillingError {
  return new BillingError('deadline', 'DEADLINE_EXCEEDED', 'the deadline passed before the answer was ready');
}

export function shuttingDown(): BillingError {
  return new BillingError('unavailable', 'SHUTTING_DOWN', 'this server is shutting down', { retryDelayMs: 1_000 });
}

export function protocolHeaderMissing(): BillingError {
  return new BillingError('invalid', 'PROTOCOL_HEADER_MISSING', 'the header Connect-Protocol-Version: 1 is required');
}

export function mediaTypeUnsupported(): BillingError {
  return new BillingError('invalid', 'MEDIA_TYPE_UNSUPPORTED', 'this content type is not supported here');
}

export function httpMethodNotAllowed(): BillingError {
  return new BillingError('unimplemented', 'HTTP_METHOD_NOT_ALLOWED', 'this HTTP method is not allowed here');
}

export function pathNotFound(): BillingError {
  return new BillingError('unimplemented', 'PATH_NOT_FOUND', 'nothing is served at this path');
}
