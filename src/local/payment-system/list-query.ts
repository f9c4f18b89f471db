import { ApiError } from './api-error.ts';

const pageSizeMax = 500;
const pageSizeDefault = 100;

/** How long a page may be; 100 when it is left out. */
export function readLimit(query: URLSearchParams): number {
  const limit = Number(query.get('limit') ?? pageSizeDefault);
  if (Number.isInteger(limit) && limit >= 1 && limit <= pageSizeMax) return limit;
  throw invalid(`limit is not a whole number from 1 to ${pageSizeMax}`);
}

/** An instant, ms since the epoch; undefined when it is left out. */
export function readInstantMs(query: URLSearchParams, name: string): number | undefined {
  const text = query.get(name);
  if (text === null) return undefined;
  try {
    return Temporal.Instant.from(text).epochMilliseconds;
  } catch {
    throw invalid(`${name} is not an instant such as 2027-01-31T12:00:00Z`);
  }
}

/** The refusal of a parameter that does not have its form. */
export function invalid(message: string): ApiError {
  return new ApiError(400, 'parameter_invalid', message);
}
