import { createHash } from 'node:crypto';

/** Chance that repeats: the same seed gives the same draws, on any machine. */
export interface Random {
  /** Evenly in `[0, 1)`. */
  next(): number;
  /** A whole number, evenly in `[min, max]`. */
  between(min: number, max: number): number;
  /** One of the choices, each as often as its weight says. */
  pick<T>(choices: readonly (readonly [weight: number, choice: T])[]): T;
}

/** The chance of one viewer; another viewer's draws neither disturb nor repeat it. */
export function createRandom(seed: string): Random {
  const key = createHash('sha256').update(seed).digest();
  let state = key.readUInt32LE(0);
  // Weyl sequence and a mixing step (mulberry32's constants): 2^32 draws before it repeats.
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    next,
    between: (min, max) => min + Math.floor(next() * (max - min + 1)),
    pick(choices) {
      const total = choices.reduce((sum, [weight]) => sum + weight, 0);
      let rest = next() * total;
      for (const [weight, choice] of choices) {
        rest -= weight;
        if (rest < 0) return choice;
      }
      return choices.at(-1)![1];
    },
  };
}

/** The user id of the n-th viewer: the same in every run of a seed. */
export function viewerId(seed: number, number: number): string {
  const hex = createHash('sha256').update(`viewer ${seed} ${number}`).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}
