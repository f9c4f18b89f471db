import { setTimeout as delay } from 'node:timers/promises';

const pollMs = 20;

/**
 * Asks again and again until the probe answers something other than false, undefined or null, and answers that. Throws
 * with `what` after `timeoutMs`.
 */
export async function waitUntil<T>(
  what: string,
  probe: () => Promise<T | false | undefined | null> | T | false | undefined | null,
  timeoutMs = 20_000,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const answer = await probe();
    if (answer !== false && answer !== undefined && answer !== null) return answer;
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await delay(pollMs);
  }
}
