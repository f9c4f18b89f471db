import { invalid, readInstantMs, readLimit } from './list-query.ts';
import type { State } from './payments.ts';

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
  const limit = readLimit(query);
  const firstBegunAt = (name: string, otherwise: number) => {
    const sinceMs = readInstantMs(query, name);
    return sinceMs === undefined ? otherwise : firstSince(state, sinceMs);
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
