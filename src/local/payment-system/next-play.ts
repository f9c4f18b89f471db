import type { LedgerLine } from './ledger-line.ts';
import type { State } from './payments.ts';
import { playNamed, randomPlay, type Play } from './scripts.ts';

export interface NextPlay extends Play {
  /** The answer comes that much later; real time. */
  readonly delayMs: number;
  /** For the line: what is left of the script, or how often the key was hit by chance. */
  readonly used: Pick<LedgerLine, 'script' | 'hit_key'>;
}

/** How a charge of the customer under a new key goes: by the customer's script, else by chance, else by its card. */
export function nextPlay(state: Readonly<State>, customerReference: string, key: string): NextPlay {
  const script = state.scripts.get(customerReference);
  const [step, ...rest] = script?.charges ?? [];
  if (script !== undefined && step !== undefined) {
    const charges = step.times > 1 ? [{ ...step, times: step.times - 1 }, ...rest] : rest;
    const play = step.outcome === 'by_card' ? {} : playNamed(step.outcome);
    return { ...play, delayMs: step.delay_ms, used: { script: { ...script, charges } } };
  }
  const { faultSeed: seed } = state;
  const name = seed === undefined ? undefined : randomPlay(seed, key, state.hits.get(key) ?? 0);
  return name === undefined ? { delayMs: 0, used: {} } : { ...playNamed(name), delayMs: 0, used: { hit_key: key } };
}
