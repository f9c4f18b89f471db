/** Something that does not agree. */
export interface Finding<Class extends string> {
  readonly class: Class;
  /** One line for a person: which one, and in what it differs. */
  readonly what: string;
}

/** How many findings a run keeps; more of them are only counted. */
export const findingsMax = 1_000;

/** Where a check puts what it found. */
export interface FindingSink<Class extends string> {
  add(found: Class, what: string): void;
}

/** Collects findings in bounded memory. */
export interface Findings<Class extends string> extends FindingSink<Class> {
  /** The first `findingsMax`, in the order in which they were found. */
  readonly list: readonly Finding<Class>[];
  /** All of them, by class. */
  readonly counts: ReadonlyMap<Class, number>;
}

export function createFindings<Class extends string>(): Findings<Class> {
  const list: Finding<Class>[] = [];
  const counts = new Map<Class, number>();
  return {
    list,
    counts,
    add(found, what) {
      counts.set(found, (counts.get(found) ?? 0) + 1);
      if (list.length < findingsMax) list.push({ class: found, what });
    },
  };
}
