import { setTimeout as delay } from 'node:timers/promises';

export interface Sleeper {
  /** Sleeps until woken, stopped or `ms` are over, and answers whether it was woken. A wake-up while awake counts. */
  sleep(ms: number, stopping: AbortSignal): Promise<boolean>;
  wake(): void;
}

/** A pause that can be cut short. */
export function createSleeper(): Sleeper {
  let woken = Promise.withResolvers<true>();
  return {
    async sleep(ms, stopping) {
      const slept = new AbortController();
      const signal = AbortSignal.any([stopping, slept.signal]);
      const isWoken = await Promise.race([woken.promise, delay(ms, false, { signal }).catch(() => false)]);
      slept.abort();
      if (isWoken) woken = Promise.withResolvers<true>();
      return isWoken;
    },
    wake: () => woken.resolve(true),
  };
}
