/** Counts the methods that are running, also those whose caller waits no longer: they may be moving money. */
export interface RunningCalls {
  readonly draining: boolean;
  begin(): void;
  end(): void;
  /** Turns `draining` on and waits until nothing runs. False when something still ran after `timeoutMs`. */
  drain(timeoutMs: number): Promise<boolean>;
}

/** Nothing is running yet. */
export function createRunningCalls(): RunningCalls {
  let running = 0;
  let draining = false;
  const idle = Promise.withResolvers<boolean>();
  return {
    get draining() {
      return draining;
    },
    begin() {
      running += 1;
    },
    end() {
      running -= 1;
      if (draining && running === 0) idle.resolve(true);
    },
    async drain(timeoutMs) {
      draining = true;
      if (running === 0) return true;
      const timer = setTimeout(() => idle.resolve(false), timeoutMs);
      const drained = await idle.promise;
      clearTimeout(timer);
      return drained;
    },
  };
}
