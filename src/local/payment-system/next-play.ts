import type { LedgerLine, ScriptStep } from './ledger-line.ts';
import type { State } from './payments.ts';
import { playNamed, randomPlay, type Play } from './scripts.ts';

export interface NextPlay extends Play {
  /** The answer comes that much later; real time. */
  readonly delayMs: number;
  /** For the line: what is left of the script, or how often the key was hit by chance. */
  readonly used: Pick<LedgerLine, 'script' | 'hit_key'>;
}

/** How a refund to the customer goes: by the script, else as the card says. */
export function nextRefundPlay(state: Readonly<State>, customerReference: string): NextPlay {
  const script = state.scripts.get(customerReference);
  const [step, ...rest] = script?.refunds ?? [];
  if (script === undefined || step === undefined) return { delayMs: 0, used: {} };
  return { ...playOf(step), delayMs: step.delay_ms, used: { script: { ...script, refunds: after(step, rest) } } };
}

function playOf({ outcome }: ScriptStep): Play {
  return outcome === 'by_card' ? {} : playNamed(outcome);
}

function after(step: ScriptStep, rest: readonly ScriptStep[]): ScriptStep[] {
  return step.times > 1 ? [{ ...step, times: step.times - 1 }, ...rest] : [...rest];
}

/** How a charge of the customer under a new key goes: by the customer's script, else by chance, else by its card. */
export function nextPlay(state: Readonly<State>, customerReference: string, key: string): NextPlay {
  const script = state.scripts.get(customerReference);
  const [step, ...rest] = script?.charges ?? [];
  if (script !== undefined && step !== undefined) {
    return { ...playOf(step), delayMs: step.delay_ms, used: { script: { ...script, charges: after(step, rest) } } };
  }
  const { faultSeed: seed } = state;
  const name = seed === undefined ? undefined : randomPlay(seed, key, state.hits.get(key) ?? 0);
  return name === undefined ? { delayMs: 0, used: {} } : { ...playNamed(name), delayMs: 0, used: { hit_key: key } };
}
