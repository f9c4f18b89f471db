import { invalid, readInstantMs, readLimit } from './list-query.ts';
import type { State } from './payments.ts';

/** A page of the disputes opened within `[created_from, created_before)`, in that order, after one of them. */
export function listDisputes({ disputes }: Readonly<State>, query: URLSearchParams): object {
  const limit = readLimit(query);
  const fromMs = readInstantMs(query, 'created_from') ?? -Infinity;
  const beforeMs = readInstantMs(query, 'created_before') ?? Infinity;
  const opened = [...disputes.values()];
  const after = query.get('after') ?? '';
  const position = opened.findIndex(({ id }) => id === after);
  if (after !== '' && position === -1) throw invalid('after is not the id of a dispute');
  const found = opened.slice(position + 1).filter(({ created_at: at }) => {
    const openedMs = Date.parse(at);
    return openedMs >= fromMs && openedMs < beforeMs;
  });
  return { data: found.slice(0, limit), has_more: found.length > limit };
}
