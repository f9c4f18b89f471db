import type { LocalProvider } from '../src/local/payment-systems.ts';
import type { Check } from './checks.ts';

export interface ScenarioOptions {
  /** Of everything that the scenario draws by chance. */
  readonly seed: number;
  /** Only what has this text in its name, for a replay. */
  readonly only: string;
  /** What the service charges through. */
  readonly provider: LocalProvider;
  /** Hears a line for a person now and then. */
  progress(line: string): void;
}

/** A scenario ends with faults off and all work done, and with what was checked then. */
export type Scenario = (options: ScenarioOptions) => Promise<Check[]>;

/** Numbers in [0, 1), the same ones for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
