import { setTimeout as pause } from 'node:timers/promises';
import { Cron } from 'croner';
import type { Logger } from 'pino';

/** Something that looks for work now and then. */
export interface Ticker {
  /** Look now. */
  wake(): void;
  /**
   * No more looks. Resolves with true when those under way have ended, with false when they have not within `withinMs`:
   * what they leave undone is what a crash would leave, rows that the sweeper finishes.
   */
  stop(withinMs: number): Promise<boolean>;
}

const roundsMax = 10_000;

/**
 * Looks for work every second and when woken; rounds follow one another while `work` says that it found some. croner is
 * only the tick: what is due comes from rows, and a missed tick needs no replay. `lanes` rounds may run side by side.
 */
export function startTicker(name: string, work: () => Promise<number>, log: Logger, lanes = 1): Ticker {
  const stopping = new AbortController();
  let woken = false;
  const running = new Set<Promise<void>>();

  async function rounds(): Promise<void> {
    for (let round = 0; round < roundsMax && !stopping.signal.aborted; round++) {
      woken = false;
      try {
        if ((await work()) === 0 && !woken) return;
      } catch (error) {
        log.error({ err: error, loop: name }, 'round failed');
        return;
      }
    }
  }

  function look(): void {
    if (stopping.signal.aborted) return;
    woken = true;
    while (running.size < lanes) {
      const lane = rounds().finally(() => running.delete(lane));
      running.add(lane);
    }
  }

  const cron = new Cron(
    '* * * * * *',
    { name, unref: true, catch: (error) => log.error({ err: error, loop: name }, 'tick failed') },
    look,
  );
  return {
    wake: look,
    stop: async (withinMs) => {
      stopping.abort();
      cron.stop();
      const timer = new AbortController();
      const ended = Promise.all(running).then(() => true);
      const tooLate = pause(withinMs, false, { signal: timer.signal }).catch(() => false);
      const inTime = await Promise.race([ended, tooLate]);
      timer.abort();
      return inTime;
    },
  };
}
