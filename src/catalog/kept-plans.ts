/** How long a plan that another replica took off sale can stay on a list. */
const keptMaxMs = 500;
/** Lists differ by currency; nobody sells in so many. */
const listsMax = 32;

/** Lists of plans on sale, each read once for all who ask within half a second. */
export interface KeptPlans<List> {
  /** The kept list of this currency, or a newly loaded one. Rejects as `load` does; a failure is not kept. */
  get(currencyCode: string, load: () => Promise<List>): Promise<List>;
  /** For a change of this process: what is kept, and what is being read at this moment, is given to nobody any more. */
  forget(): void;
}

/** Keeps nothing yet. `nowMs` is a clock that only goes forward. */
export function keepPlans<List>(nowMs: () => number = () => performance.now()): KeptPlans<List> {
  const kept = new Map<string, { list: Promise<List>; readAtMs: number }>();
  return {
    get(currencyCode, load) {
      const known = kept.get(currencyCode);
      if (known !== undefined && nowMs() - known.readAtMs < keptMaxMs) return known.list;
      if (kept.size >= listsMax) kept.clear();
      const entry = { list: load(), readAtMs: nowMs() };
      kept.set(currencyCode, entry);
      entry.list.catch(() => {
        if (kept.get(currencyCode) === entry) kept.delete(currencyCode);
      });
      return entry.list;
    },
    forget: () => kept.clear(),
  };
}
