import { setTimeout as pause } from 'node:timers/promises';
import type { Guarded } from './guard.ts';
import { LocalError } from './local-error.ts';

const readyMaxMs = 30_000;
const answerMaxMs = 5_000;
const pollMs = 50;

/** Waits until the address answers 200. Throws a LocalError with its last answer after 30 s, or when the server ends. */
export async function untilReady(url: string, server: Guarded): Promise<void> {
  const deadline = performance.now() + readyMaxMs;
  for (;;) {
    const answer = await ask(url);
    if (answer === '200') return;
    if (!server.isRunning()) throw new LocalError(`the ${server.name} ended before it was ready`);
    if (performance.now() > deadline) {
      throw new LocalError(`the ${server.name} was not ready within ${readyMaxMs / 1_000} s: ${url} answers ${answer}`);
    }
    await pause(pollMs);
  }
}

async function ask(url: string): Promise<string> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(answerMaxMs) });
    const body = await response.text();
    return response.ok ? String(response.status) : `${response.status} ${body}`;
  } catch (error) {
    return (error as Error).message;
  }
}
