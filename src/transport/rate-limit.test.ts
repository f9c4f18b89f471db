import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { create } from '@bufbuild/protobuf';
import test from 'ava';
import { EntitlementService } from '@cinema-billing/gen/billing/v1/entitlement_service_pb.ts';
import { GetPlanRequestSchema, PlanService } from '@cinema-billing/gen/billing/v1/plan_service_pb.ts';
import { anonymous, type Actor } from '../identity/actor.ts';
import { BillingError } from '../lib/billing-error.ts';
import { startTestTransport } from '../testing/running-transport.ts';
import { createRateLimiter, type RateLimiter } from './rate-limit.ts';

const limits = { viewerPerS: 5, operatorPerS: 10, servicePerS: 0, addressPerS: 2 };
const customer = (id: string): Actor => ({ kind: 'customer', id });
const here = '10.0.0.1';

/** How long a refused call has to wait, 0 for one that passed. */
function waitMs(limiter: RateLimiter, actor: Actor, address = here): number {
  try {
    limiter.count(actor, address);
    return 0;
  } catch (error) {
    return (error as BillingError).retryDelayMs!;
  }
}

/** Counts calls until one is refused, at most `max`. */
function passing(limiter: RateLimiter, actor: Actor, max: number, address = here): number {
  for (let call = 0; call < max; call++) if (waitMs(limiter, actor, address) > 0) return call;
  return max;
}

test('two seconds’ worth of calls pass at once, then the rate', (t) => {
  let nowMs = 1_000;
  const limiter = createRateLimiter(limits, () => nowMs);
  t.is(passing(limiter, customer('a'), 100), 10);
  t.is(waitMs(limiter, customer('a')), 200);
  nowMs += 199;
  t.is(waitMs(limiter, customer('a')), 1);
  nowMs += 1;
  t.is(waitMs(limiter, customer('a')), 0);
  t.is(waitMs(limiter, customer('a')), 200);
  nowMs += 1_000;
  t.is(passing(limiter, customer('a'), 100), 5);
  nowMs += 3_600_000;
  t.is(passing(limiter, customer('a'), 100), 10, 'a quiet hour saves up no more than a burst');
});

test('each caller has a limit of their own, by their kind', (t) => {
  const limiter = createRateLimiter(limits, () => 0);
  t.is(passing(limiter, customer('a'), 100), 10);
  t.is(passing(limiter, customer('b'), 100), 10);
  t.is(passing(limiter, { kind: 'operator', id: 'a', role: 'support' }, 100), 20);
  t.is(passing(limiter, { kind: 'service', id: 'a', scopes: [] }, 10_000), 10_000, '0 is no limit');
  t.is(passing(limiter, anonymous, 100, '10.0.0.1'), 4);
  t.is(passing(limiter, anonymous, 100, '10.0.0.2'), 4);
});

test('a million callers do not fill the memory, and whoever keeps calling stays limited', (t) => {
  const limiter = createRateLimiter(limits, () => 0);
  t.is(passing(limiter, customer('busy'), 100), 10);
  setFlagsFromString('--expose-gc');
  const collectGarbage = runInNewContext('gc') as () => void;
  const before = process.memoryUsage().heapUsed;
  for (let n = 0; n < 1_000_000; n++) {
    limiter.count(customer(`viewer-${n}`), here);
    if (n % 10_000 === 0) t.true(waitMs(limiter, customer('busy')) > 0, String(n));
  }
  collectGarbage();
  t.true(process.memoryUsage().heapUsed - before < 50 * 1024 * 1024);
  t.true(waitMs(limiter, customer('busy')) > 0);
});

test('answers the same over every way in, with the time after which to try again', async (t) => {
  const server = await startTestTransport(
    (router) => router.add(PlanService, { listPlans: async () => ({}), getPlan: async () => ({}) }),
    { rateLimits: { ...limits, addressPerS: 1 } },
  );
  t.teardown(() => server.stop());
  const getPlan = () => server.callers.grpc(PlanService.method.getPlan, create(GetPlanRequestSchema, { code: 'a' }));
  t.is((await getPlan()).error, undefined);
  t.is((await getPlan()).error, undefined);
  for (const [way, call] of Object.entries(server.callers)) {
    const { error } = await call(PlanService.method.getPlan, create(GetPlanRequestSchema, { code: 'a' }));
    t.is(error?.code, 8, way);
    t.is(error?.message, 'too many calls; try again later', way);
    const [info, retry] = error!.details as Record<string, string>[];
    t.deepEqual(info, { type: 'google.rpc.ErrorInfo', reason: 'RATE_LIMITED', domain: 'billing' }, way);
    t.is(retry?.['type'], 'google.rpc.RetryInfo', way);
    t.regex(retry?.['retryDelay'] ?? '', /^(0\.\d{3}|1)s$/, way);
  }
});

test('a refused message is a call too', async (t) => {
  const server = await startTestTransport(
    (router) => router.add(PlanService, { listPlans: async () => ({}), getPlan: async () => ({}) }),
    { rateLimits: { ...limits, addressPerS: 1 } },
  );
  t.teardown(() => server.stop());
  const request = create(GetPlanRequestSchema, { code: '' });
  const codes: (number | undefined)[] = [];
  for (let n = 0; n < 3; n++) codes.push((await server.callers.grpc(PlanService.method.getPlan, request)).error?.code);
  t.deepEqual(codes, [3, 3, 8]);
});

test('a token that is no good spends nobody’s calls', async (t) => {
  const answer = async () => ({});
  const server = await startTestTransport(
    (router) =>
      router.add(EntitlementService, {
        getEntitlement: answer,
        batchGetEntitlements: answer,
        listEntitlements: answer,
      }),
    { rateLimits: { ...limits, servicePerS: 1, addressPerS: 1 } },
  );
  t.teardown(() => server.stop());
  const { listEntitlements } = EntitlementService.method;
  const call = async (token: string) =>
    (await server.callers.grpc(listEntitlements, create(listEntitlements.input), { token })).error?.code;
  const good = server.issuer.token({ sub: 'auth', scope: 'billing.entitlements' });
  for (let n = 0; n < 10; n++) t.is(await call(`${good.slice(0, -8)}AAAAAAAA`), 16);
  t.is(await call(good), undefined);
  t.is(await call(good), undefined);
  t.is(await call(good), 8);
});
