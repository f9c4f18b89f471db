import type { Guarded } from './guard.ts';

/** Thrown by `add` when everything is being stopped already. */
export class Stopping extends Error {}

/** The servers of one embedded system, in the order in which they were started. */
export interface Parts {
  /** From now on it is stopped with the others. Throws Stopping when that has begun; then it has been stopped too. */
  add(server: Guarded): Promise<void>;
  /** Resolves with the first that ends without having been asked. */
  readonly firstToFail: Promise<Guarded>;
  readonly servers: readonly Guarded[];
  /** Stops the last one first. Safe to call again; every call resolves when all have ended. */
  stopAll(told?: (server: Guarded) => void): Promise<void>;
}

export function createParts(): Parts {
  const servers: Guarded[] = [];
  const firstToFail = Promise.withResolvers<Guarded>();
  let stopped: Promise<void> | undefined;

  async function stopEach(told?: (server: Guarded) => void): Promise<void> {
    for (const server of servers.toReversed()) {
      await server.stop();
      told?.(server);
    }
  }

  return {
    servers,
    firstToFail: firstToFail.promise,
    async add(server) {
      if (stopped) {
        await server.stop();
        throw new Stopping();
      }
      servers.push(server);
      void server.ended.then(({ expected }) => expected || firstToFail.resolve(server));
    },
    stopAll: (told) => (stopped ??= stopEach(told)),
  };
}
