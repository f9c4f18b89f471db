import { create } from '@bufbuild/protobuf';
import { loadPackageDefinition, credentials, type Client } from '@grpc/grpc-js';
import test from 'ava';
import { service as healthDefinition } from 'grpc-health-check';
import { GetPlanRequestSchema, PlanService } from '@cinema-billing/gen/billing/v1/plan_service_pb.ts';
import { startTestTransport } from '../testing/running-transport.ts';
import type { Router } from './router.ts';

const getPlan = PlanService.method.getPlan;
const plan = create(GetPlanRequestSchema, { code: 'premium' });

/** A PlanService whose GetPlan waits until it is told to go on. */
function waitingService() {
  const entered = Promise.withResolvers<void>();
  const goOn = Promise.withResolvers<void>();
  const add = (router: Router) =>
    router.add(PlanService, {
      listPlans: async () => ({}),
      getPlan: async () => {
        entered.resolve();
        await goOn.promise;
        return { plan: { code: 'premium' } };
      },
    });
  return { entered, goOn, add };
}

test('finishes running calls when stopped, and refuses new ones meanwhile', async (t) => {
  const { entered, goOn, add } = waitingService();
  const server = await startTestTransport(add);
  const running = server.callers.grpc(getPlan, plan);
  await entered.promise;
  const stopping = server.transport.stop(10_000);
  const refused = {
    error: {
      code: 14,
      message: 'this server is shutting down',
      details: [
        { type: 'google.rpc.ErrorInfo', reason: 'SHUTTING_DOWN', domain: 'billing' },
        { type: 'google.rpc.RetryInfo', retryDelay: '1s' },
      ],
    },
  };
  for (const [way, call] of Object.entries(server.callers)) t.deepEqual(await call(getPlan, plan), refused, way);
  t.is((await fetch(`${server.url}/readyz`)).status, 503);
  t.is((await fetch(`${server.url}/livez`)).status, 200);
  goOn.resolve();
  t.deepEqual(await running, { answer: { plan: { code: 'premium' } } });
  t.true(await stopping);
  await t.throwsAsync(fetch(`${server.url}/livez`));
  server.grpcClient.close();
});

test('waits for work whose caller has gone, because it may move money', async (t) => {
  const { entered, goOn, add } = waitingService();
  const server = await startTestTransport(add);
  const outcome = await server.callers['Connect JSON'](getPlan, plan, { headers: { 'connect-timeout-ms': '50' } });
  t.is(outcome.error?.code, 4);
  await entered.promise;
  const stopping = server.transport.stop(10_000);
  goOn.resolve();
  t.true(await stopping);
  server.grpcClient.close();
});

test('stops after its time even when a call never ends, and says so', async (t) => {
  const { entered, goOn, add } = waitingService();
  t.teardown(() => goOn.resolve());
  const server = await startTestTransport(add);
  const running = server.callers.grpc(getPlan, plan);
  await entered.promise;
  const stoppingAtMs = performance.now();
  t.false(await server.transport.stop(100));
  t.true(performance.now() - stoppingAtMs < 5_000);
  t.not((await running).error, undefined);
  server.grpcClient.close();
});

test('says in one line which port cannot be had, and listens on neither', async (t) => {
  const { add } = waitingService();
  const first = await startTestTransport(add);
  t.teardown(() => first.stop());
  const http = await t.throwsAsync(startTestTransport(add, { httpPort: first.httpPort }));
  t.regex(http!.message, /^cannot listen for HTTP on 127\.0\.0\.1 port \d+: .*EADDRINUSE.*$/);
  const grpc = await t.throwsAsync(startTestTransport(add, { grpcPort: first.grpcPort }));
  t.regex(grpc!.message, /^cannot listen for gRPC on 127\.0\.0\.1 port \d+: .*EADDRINUSE.*$/);
});

type HealthClient = Client & {
  check(request: { service: string }, done: (error: Error | null, answer?: { status: string }) => void): void;
};

function healthClient(port: number): HealthClient {
  const loaded = loadPackageDefinition({ Health: healthDefinition } as never);
  const Constructor = loaded['Health'] as unknown as new (...args: unknown[]) => HealthClient;
  return new Constructor(`127.0.0.1:${port}`, credentials.createInsecure());
}

function check(client: HealthClient, service: string): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    client.check({ service }, (error, answer) => (error ? reject(error) : resolve(answer?.status)));
  });
}

test('tells gRPC health what readiness says, for the server and for each service', async (t) => {
  let database = true;
  const { add } = waitingService();
  const server = await startTestTransport(add, { readiness: async () => ({ database }) });
  const client = healthClient(server.grpcPort);
  t.teardown(async () => {
    client.close();
    await server.stop();
  });
  t.is(await check(client, ''), 'SERVING');
  t.is(await check(client, 'billing.v1.PlanService'), 'SERVING');
  await t.throwsAsync(check(client, 'billing.v1.NothingService'), { message: /NOT_FOUND/ });
  database = false;
  const giveUpAtMs = Date.now() + 10_000;
  while ((await check(client, '')) === 'SERVING' && Date.now() < giveUpAtMs) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  t.is(await check(client, ''), 'NOT_SERVING');
  t.is(await check(client, 'billing.v1.PlanService'), 'NOT_SERVING');
});

test('is not ready when a check fails or hangs', async (t) => {
  const { add } = waitingService();
  const failing = await startTestTransport(add, { readiness: () => Promise.reject(new Error('no route')) });
  t.teardown(() => failing.stop());
  const failed = await fetch(`${failing.url}/readyz`);
  t.is(failed.status, 503);
  t.deepEqual(await failed.json(), { status: 'unavailable', checks: { checks_completed: false } });
  const hanging = await startTestTransport(add, { readiness: () => new Promise(() => {}) });
  t.teardown(() => hanging.stop());
  t.is((await fetch(`${hanging.url}/readyz`)).status, 503);
});
