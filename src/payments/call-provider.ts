import type { AttemptState } from './payment.ts';
import { NotExecuted, OutcomeUnknown, RequestRefused, type PaymentOutcome } from './provider.ts';

/** What came of a call: the provider's answer, or what its absence means. */
export type CallOutcome =
  | PaymentOutcome
  /** The provider may have taken the money; only a look-up can tell. */
  | { readonly kind: 'unknown'; readonly note: string }
  /** Nothing happened; the same key again. */
  | { readonly kind: 'not executed'; readonly note: string; readonly retryAfterMs: number | undefined }
  /** Nothing happened and the fault is ours: a person has to look. */
  | { readonly kind: 'refused'; readonly note: string }
  /** A look-up did not find it. `state` is what the attempt was at that moment: an answer about an older one is void. */
  | { readonly kind: 'absent'; readonly state: AttemptState };

/** Makes a call that moves money and turns the provider's three exceptions into values that can be stored. */
export async function callProvider(call: () => Promise<PaymentOutcome>): Promise<CallOutcome> {
  try {
    return await call();
  } catch (error) {
    if (error instanceof NotExecuted) {
      return { kind: 'not executed', note: error.message, retryAfterMs: error.retryAfterMs };
    }
    if (error instanceof RequestRefused) return { kind: 'refused', note: error.message };
    if (error instanceof OutcomeUnknown) return { kind: 'unknown', note: error.message };
    // Whatever else went wrong went wrong after the call had begun.
    return { kind: 'unknown', note: error instanceof Error ? error.message : String(error) };
  }
}

/** Runs the work for every item, at most `concurrencyMax` at once, and gives the results in the items' order. */
export async function mapBounded<T, R>(
  items: readonly T[],
  concurrencyMax: number,
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = Array.from({ length: items.length });
  let next = 0;
  const worker = async () => {
    while (next < items.length) {
      const index = next++;
      results[index] = await work(items[index]!);
    }
  };
  await Promise.all(Array.from({ length: Math.min(concurrencyMax, items.length) }, worker));
  return results;
}
