import type { ClockSetting } from './ledger-line.ts';

/** The business clock of the sandbox. Instants are ms since the epoch. */
export interface TestClock {
  nowMs(): number;
  now(): string;
  isRunning(): boolean;
  /** The setting that follows; undefined when nothing changes. An earlier `now` keeps the present one. */
  planSetting(nowMs: number, isRunning: boolean): ClockSetting | undefined;
  apply(setting: ClockSetting): void;
}

/**
 * A clock that shows real time until it is set; then it goes on from there, or stands still. It never goes back, nor
 * before `latestAt`.
 */
export function createTestClock(initial: ClockSetting | undefined, latestAt: string | undefined): TestClock {
  const start = isoOf(Date.now());
  let setting: ClockSetting = initial ?? { now: start, real: start, running: true };
  let latestMs = Math.max(Date.parse(setting.now), latestAt === undefined ? 0 : Date.parse(latestAt));

  const nowMs = (): number => {
    const elapsedMs = setting.running ? Date.now() - Date.parse(setting.real) : 0;
    // The real clock may be set back; business time must not be.
    latestMs = Math.max(latestMs, Date.parse(setting.now) + elapsedMs);
    return latestMs;
  };

  return {
    nowMs,
    now: () => isoOf(nowMs()),
    isRunning: () => setting.running,
    planSetting(wantedMs, isRunning) {
      const presentMs = nowMs();
      if (wantedMs <= presentMs && isRunning === setting.running) return undefined;
      return { now: isoOf(Math.max(wantedMs, presentMs)), real: isoOf(Date.now()), running: isRunning };
    },
    apply(next) {
      setting = next;
    },
  };
}

/** Writes ms since the epoch as the API shows instants. */
export function isoOf(epochMs: number): string {
  return new Date(epochMs).toISOString();
}
