import { requestIdStorm } from '../src/testing/request-id-storm.ts';
import { startWorld } from '../src/testing/world.ts';
import type { Scenario } from './scenario.ts';

const requests = 1_000;
const repeats = 10;

/** Mutating calls, each ten times at once to two replicas, cut off after 1 to 500 ms: one effect and one answer each. */
export const requestId: Scenario = async ({ seed, progress }) => {
  const world = await startWorld();
  try {
    const replicas = [world.service, await world.startReplica()];
    const { outcomes, examined, differences } = await requestIdStorm(world, {
      requests,
      repeats,
      seed,
      replicas,
      progress,
    });
    progress(JSON.stringify(outcomes));
    const cutOff = outcomes['DEADLINE_EXCEEDED'] ?? 0;
    return [
      { name: 'one effect and one answer per request id', examined, broken: differences },
      { name: 'calls were cut off by their deadline', examined: cutOff, broken: [] },
    ];
  } finally {
    await world.stop();
  }
};
