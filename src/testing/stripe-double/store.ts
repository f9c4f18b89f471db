import { randomBytes } from 'node:crypto';

/** What the double's cards do when they are charged without the customer. On a page each of them pays. */
export type DoubleCard =
  | 'good'
  | 'no funds later'
  | 'stolen later'
  | 'needs customer'
  | 'processing later'
  /** The charge is taken, and the answer, 500, is kept with the key. */
  | 'error later';

/** An object as Stripe shows it: references are ids until they are expanded. */
export type StripeObject = { id: string; object: string; created: number } & Record<string, unknown>;

/** Everything that the double has, in order of creation. */
export interface Store {
  readonly objects: Map<string, StripeObject>;
  readonly cards: Map<string, DoubleCard>;
  readonly baseUrl: () => string;
  add<T extends Record<string, unknown>>(prefix: string, object: string, fields: T): StripeObject & T;
}

export function createStore(baseUrl: () => string): Store {
  const objects = new Map<string, StripeObject>();
  return {
    objects,
    cards: new Map(),
    baseUrl,
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
    const id = typeof reference === 'string' ? reference : (reference as { id?: string } | null)?.id;
    const target = id === undefined ? undefined : store.objects.get(id);
    if (target !== undefined) shown[head!] = expanded(store, target, rest.length === 0 ? [] : [rest.join('.')]);
  }
  return shown;
}
