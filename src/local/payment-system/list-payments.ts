import { ApiError } from './api-error.ts';
import type { State } from './payments.ts';

const pageSizeMax = 500;
const pageSizeDefault = 100;

/**
 * The payments with a reference, or a page of all of them in the order in which they were begun, after one of them and
 * within `[created_from, created_before)`.
 */
export function listPayments(state: Readonly<State>, query: URLSearchParams): object {
  const { payments, paymentIds, positions, byReference } = state;
  const reference = query.get('reference');
  if (reference !== null) return { data: (byReference.get(reference) ?? []).map((id) => payments.get(id)) };
  const after = query.get('after') ?? '';
  const position = after === '' ? -1 : positions.get(after);
  if (position === undefined) throw invalid('after is not the id of a payment');
  const limit = Number(query.get('limit') ?? pageSizeDefault);
  if (!Number.isInteger(limit) || limit < 1 || limit > pageSizeMax) {
    throw invalid(`limit is not a whole number from 1 to ${pageSizeMax}`);
  }
  const firstBegunAt = (name: string, otherwise: number) => {
    const text = query.get(name);
    return text === null ? otherwise : firstSince(state, readInstantMs(name, text));
  };
  const start = Math.max(position + 1, firstBegunAt('created_from', 0));
  const until = firstBegunAt('created_before', paymentIds.length);
  const end = Math.min(start + limit, until);
  return { data: paymentIds.slice(start, end).map((id) => payments.get(id)), has_more: end < until };
}

/** The position of the first payment begun at that instant or later: the clock only moves forward. */
function firstSince({ payments, paymentIds }: Readonly<State>, sinceMs: number): number {
  let [low, high] = [0, paymentIds.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (Date.parse(payments.get(paymentIds[middle]!)!.created_at) < sinceMs) low = middle + 1;
    else high = middle;
  }
  return low;
}

function readInstantMs(name: string, text: string): number {
  try {
    return Temporal.Instant.from(text).epochMilliseconds;
  } catch {
    throw invalid(`${name} is not an instant such as 2027-01-31T12:00:00Z`);
  }
}

function invalid(message: string): ApiError {
  return new ApiError(400, 'parameter_invalid', message);
}
