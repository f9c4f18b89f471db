import { randomBytes } from 'node:crypto';

import type { DoubleCard } from '../double/cards.ts';
import type { DoubleState } from '../double/state-file.ts';
import type { Tree } from './parameters.ts';

/** An object as Stripe shows it: references are ids until they are expanded. */
export type StripeObject = { id: string; object: string; created: number } & Record<string, unknown>;

/** Everything that the double has, in order of creation. */
export interface Store {
  readonly objects: Map<string, StripeObject>;
  readonly cards: Map<string, DoubleCard>;
  /** What a page was asked for and does not show. */
  readonly pageTrees: Map<string, Tree>;
  /** Auth's user id of each customer who paid on a page. */
  readonly customerReferences: Map<string, string>;
  readonly baseUrl: () => string;
  /** Tells of a change of the object. */
  readonly tell: (type: string, object: StripeObject) => void;
  add<T extends Record<string, unknown>>(prefix: string, object: string, fields: T): StripeObject & T;
}

export function createStore(state: DoubleState, baseUrl: () => string, tell: Store['tell']): Store {
  const objects = state.map<StripeObject>('objects');
  return {
    objects,
    cards: state.map('cards'),
    pageTrees: state.map('page-trees'),
    customerReferences: state.map('customers'),
    baseUrl,
    tell,
    add(prefix, object, fields) {
      const id = `${prefix}_${randomBytes(12).toString('hex')}`;
      const added = { id, object, created: Math.floor(Date.now() / 1000), livemode: false, ...fields };
      objects.set(id, added);
      return added;
    },
  };
}

/** The object with its references replaced where the paths say so. An unknown path is an error of the caller. */
export function expanded(store: Store, object: StripeObject, paths: readonly string[]): Record<string, unknown> {
  const shown: Record<string, unknown> = { ...object };
  for (const path of paths) {
    const [head, ...rest] = path.split('.');
    const reference = shown[head!];
    if (reference === undefined) throw new Error(`cannot expand ${path}`);
    // What another path has expanded already is gone on with.
    const target = typeof reference === 'string' ? store.objects.get(reference) : (reference as StripeObject | null);
    if (target) shown[head!] = expanded(store, target, rest.length === 0 ? [] : [rest.join('.')]);
  }
  return shown;
}
