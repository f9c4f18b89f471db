const parentCheckEveryMs = 1_000;
const reasons = { SIGINT: 'Ctrl-C', SIGTERM: 'SIGTERM', SIGHUP: 'the terminal is gone' } as const;

/**
 * Resolves with the reason when somebody asks this process to stop. From the call on the signals no longer end it by
 * themselves. With `parentMatters` the end of the parent counts too: npm hands signals on, but it cannot hand on that it
 * was killed.
 */
export function untilAskedToStop(parentMatters: boolean): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  for (const [signal, reason] of Object.entries(reasons)) process.on(signal, () => resolve(reason));
  if (parentMatters) {
    const parent = process.ppid;
    setInterval(() => process.ppid !== parent && resolve('npm is gone'), parentCheckEveryMs).unref();
  }
  return promise;
}
