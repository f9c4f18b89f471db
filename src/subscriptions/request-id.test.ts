import { randomUUID } from 'node:crypto';
import test from 'ava';
import type { RpcError } from '../cli/grpc-client.ts';
import { requestIdStorm } from '../testing/request-id-storm.ts';
import { startWorld } from '../testing/world.ts';

const full = process.env['BILLING_TEST_TIER'] === 'full';
const seed = Number(process.env['BILLING_TEST_SEED'] ?? (full ? Date.now() % 1_000_000 : 1));
const requests = full ? 1_000 : 30;
const repeats = 10;

test('each request has one effect and one answer, sent ten times at once to two replicas with short deadlines', async (t) => {
  t.timeout(1_200_000);
  t.log(`seed ${seed}`);
  const world = await startWorld();
  try {
    const replicas = [world.service, await world.startReplica()];
    const report = await requestIdStorm(world, { requests, repeats, seed, replicas, progress: t.log });
    t.log(report.outcomes);
    t.deepEqual(report.differences, []);
    t.is(report.examined, requests);
    // Otherwise the deadlines cut nothing off.
    t.true((report.outcomes['DEADLINE_EXCEEDED'] ?? 0) > requests / 10);
  } finally {
    await world.stop();
  }
});

test('a request id belongs to its caller and to its request', async (t) => {
  const world = await startWorld();
  const { subscriptions } = world.clients();
  try {
    const viewer = async () => ({ token: await world.auth.token({ sub: randomUUID() }) });
    const [one, another] = [await viewer(), await viewer()];
    const request = { requestId: randomUUID(), priceId: world.prices.basic };
    const { subscription } = await subscriptions.subscribe(request, one);
    const changed = subscriptions.subscribe({ ...request, priceId: world.prices.premium }, one);
    t.is(((await t.throwsAsync(changed)) as RpcError).reason, 'REQUEST_ID_REUSED');
    const ofAnother = await subscriptions.subscribe(request, another);
    t.not(ofAnother.subscription!.id, subscription!.id);
  } finally {
    subscriptions.close();
    await world.stop();
  }
});
