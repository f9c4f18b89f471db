import { generateKeyPairSync } from 'node:crypto';
import { create, type DescMethodUnary, type Message } from '@bufbuild/protobuf';
import test from 'ava';
import { GetPlanRequestSchema, PlanService } from '@cinema-billing/gen/billing/v1/plan_service_pb.ts';
import {
  GetSubscriptionRequestSchema,
  SubscribeRequestSchema,
  SubscriptionService,
} from '@cinema-billing/gen/billing/v1/subscription_service_pb.ts';
import { BillingError } from '../lib/billing-error.ts';
import {
  startTestTransport,
  type CallSettings,
  type Outcome,
  type TestTransport,
} from '../testing/running-transport.ts';
import type { Call } from './call.ts';

const viewer = '0198c0de-0000-7000-8000-00000000000a';
const subscriptionId = '0198c0de-0000-7000-8000-000000000001';

class DatabaseGone extends Error {}
const slow = Promise.withResolvers<void>();
let lastCall: Call | undefined;
let server: TestTransport;

async function getPlan(call: Call, { code }: { code: string }) {
  lastCall = call;
  switch (code) {
    case 'missing':
      throw new BillingError('not-found', 'PLAN_NOT_FOUND', 'there is no such plan', { metadata: { code } });
    case 'busy':
      throw new BillingError('unavailable', 'PROVIDER_UNAVAILABLE', 'the payment system is away', {
        retryDelayMs: 1500,
        cause: new Error('connect ECONNREFUSED 10.0.0.7'),
      });
    case 'bug':
      throw new Error('password=hunter2 in table billing_secret');
    case 'known bug':
      throw new BillingError('bug', 'SUM_WRONG', 'ledger row 17 of billing_secret');
    case 'no database':
      throw new DatabaseGone('connect ECONNREFUSED 10.0.0.8');
    case 'slow':
      await slow.promise;
  }
  return { plan: { code, name: 'Премиум', prices: [{ amount: { currencyCode: 'RUB', amountMinor: 59900n } }] } };
}

test.before(async () => {
  const answer = async () => ({});
  server = await startTestTransport(
    (router) => {
      router.add(PlanService, { listPlans: answer, getPlan });
      router.add(SubscriptionService, {
        subscribe: answer,
        getSubscription: async (call) => {
          lastCall = call;
          return { subscription: { userId: call.actor.id } };
        },
        previewSubscribe: answer,
        listSubscriptions: answer,
        listSubscriptionEvents: answer,
        cancelSubscription: answer,
        resumeSubscription: answer,
        retryPayment: answer,
        changePlan: answer,
        previewPlanChange: answer,
        listPayments: answer,
      });
    },
    {
      describeUnknownError: (thrown) =>
        thrown instanceof DatabaseGone
          ? new BillingError('unavailable', 'DATABASE_UNAVAILABLE', 'try again', { retryDelayMs: 1000, cause: thrown })
          : undefined,
    },
  );
});
test.after.always(async () => {
  slow.resolve();
  await server.stop();
});

const plan = (code: string) => create(GetPlanRequestSchema, { code });
const subscription = create(GetSubscriptionRequestSchema, { subscriptionId });
const info = (reason: string, metadata?: Record<string, string>) => ({
  type: 'google.rpc.ErrorInfo',
  reason,
  domain: 'billing',
  ...(metadata ? { metadata } : {}),
});
const retry = (retryDelay: string) => ({ type: 'google.rpc.RetryInfo', retryDelay });
const timeouts = (grpc: string, connect: string): CallSettings => ({
  headers: { 'grpc-timeout': grpc, 'connect-timeout-ms': connect },
});

interface Case {
  title: string;
  method?: DescMethodUnary;
  request: Message;
  settings?: () => CallSettings;
  expected: Outcome;
}
const getSubscription = SubscriptionService.method.getSubscription;
const tokenInvalid = { error: { code: 16, message: 'the token is not valid', details: [info('TOKEN_INVALID')] } };
const denied = {
  error: { code: 7, message: 'the token does not allow this call', details: [info('PERMISSION_DENIED')] },
};

const cases: Case[] = [
  {
    title: 'an answer',
    request: plan('premium'),
    expected: {
      answer: {
        plan: {
          code: 'premium',
          name: 'Премиум',
          prices: [{ amount: { currencyCode: 'RUB', amountMinor: '59900' } }],
        },
      },
    },
  },
  {
    title: 'a public RPC with a token that is no good',
    request: plan('premium'),
    settings: () => ({ token: 'stale' }),
    expected: {
      answer: {
        plan: { code: 'premium', name: 'Премиум', prices: [{ amount: { currencyCode: 'RUB', amountMinor: '59900' } }] },
      },
    },
  },
  {
    title: 'an error with facts for programs',
    request: plan('missing'),
    expected: {
      error: { code: 5, message: 'there is no such plan', details: [info('PLAN_NOT_FOUND', { code: 'missing' })] },
    },
  },
  {
    title: 'an error that says when to try again',
    request: plan('busy'),
    expected: {
      error: {
        code: 14,
        message: 'the payment system is away',
        details: [info('PROVIDER_UNAVAILABLE'), retry('1.500s')],
      },
    },
  },
  {
    title: 'an error of ours, without a word of its cause',
    request: plan('bug'),
    expected: { error: { code: 13, message: 'internal error', details: [info('INTERNAL')] } },
  },
  {
    title: 'a bug that a use case noticed, without its words',
    request: plan('known bug'),
    expected: { error: { code: 13, message: 'internal error', details: [info('INTERNAL')] } },
  },
  {
    title: 'an error that the caller of createTransport recognises',
    request: plan('no database'),
    expected: { error: { code: 14, message: 'try again', details: [info('DATABASE_UNAVAILABLE'), retry('1s')] } },
  },
  {
    title: 'a field that breaks its rule',
    request: plan(''),
    expected: {
      error: {
        code: 3,
        message: 'fields of the request are not valid',
        details: [
          info('INVALID_FIELDS'),
          {
            type: 'google.rpc.BadRequest',
            fieldViolations: [{ field: 'code', description: 'must be at least 1 characters' }],
          },
        ],
      },
    },
  },
  {
    title: 'a text that no database stores',
    request: plan('premium\u{0}'),
    expected: {
      error: {
        code: 3,
        message: 'fields of the request are not valid',
        details: [
          info('INVALID_FIELDS'),
          {
            type: 'google.rpc.BadRequest',
            fieldViolations: [{ field: 'code', description: 'must not contain the character U+0000' }],
          },
        ],
      },
    },
  },
  {
    title: 'a viewer with a token',
    method: getSubscription,
    request: subscription,
    settings: () => ({ token: server.issuer.token({ sub: viewer }) }),
    expected: { answer: { subscription: { userId: viewer } } },
  },
  {
    title: 'a service with a scope',
    method: getSubscription,
    request: subscription,
    settings: () => ({ token: server.issuer.token({ sub: 'gateway', scope: 'billing.read' }) }),
    expected: { answer: { subscription: { userId: 'gateway' } } },
  },
  {
    title: 'no token',
    method: getSubscription,
    request: subscription,
    expected: { error: { code: 16, message: 'a token is required', details: [info('TOKEN_MISSING')] } },
  },
  {
    title: 'an expired token',
    method: getSubscription,
    request: subscription,
    settings: () => ({ token: server.issuer.token({ sub: viewer, expiresInS: -60 }) }),
    expected: tokenInvalid,
  },
  {
    title: 'a token of another key',
    method: getSubscription,
    request: subscription,
    settings: () => {
      const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
      return { token: server.issuer.token({ sub: viewer, privateKey }) };
    },
    expected: tokenInvalid,
  },
  {
    title: 'another scheme than Bearer',
    method: getSubscription,
    request: subscription,
    settings: () => ({ headers: { authorization: 'Basic YTpi' } }),
    expected: tokenInvalid,
  },
  {
    title: 'a service without the scope',
    method: getSubscription,
    request: subscription,
    settings: () => ({ token: server.issuer.token({ sub: 'shop', scope: 'shop.read' }) }),
    expected: denied,
  },
  {
    title: 'an operator where only viewers and services are listed',
    method: getSubscription,
    request: subscription,
    settings: () => ({ token: server.issuer.token({ sub: 'anna', role: 'admin' }) }),
    expected: denied,
  },
  {
    title: 'no token and invalid fields: who is asked before what',
    method: SubscriptionService.method.subscribe,
    request: create(SubscribeRequestSchema, { requestId: 'x' }),
    expected: { error: { code: 16, message: 'a token is required', details: [info('TOKEN_MISSING')] } },
  },
  {
    title: 'a deadline that passes while the work is under way',
    request: plan('slow'),
    settings: () => timeouts('150m', '150'),
    expected: {
      error: {
        code: 4,
        message: 'the deadline passed before the answer was ready',
        details: [info('DEADLINE_EXCEEDED')],
      },
    },
  },
  {
    title: 'a deadline beyond the cap',
    request: plan('premium'),
    settings: () => timeouts('31S', '31000'),
    expected: {
      error: { code: 3, message: 'a deadline is at most 30 s away', details: [info('DEADLINE_TOO_LONG')] },
    },
  },
  {
    title: 'a timeout that cannot be read',
    request: plan('premium'),
    settings: () => timeouts('soon', 'soon'),
    expected: {
      error: { code: 3, message: 'the timeout header cannot be read', details: [info('DEADLINE_INVALID')] },
    },
  },
  {
    title: 'a request larger than 256 KiB',
    request: plan('x'.repeat(256 * 1024)),
    expected: { error: { code: 8, message: 'a request is at most 256 KiB', details: [info('BODY_TOO_LARGE')] } },
  },
];

for (const { title, method = PlanService.method.getPlan, request, settings, expected } of cases) {
  test(`answers the same over gRPC, Connect and gRPC-Web: ${title}`, async (t) => {
    for (const [way, call] of Object.entries(server.callers)) {
      t.deepEqual(await call(method, request, settings?.()), expected, way);
    }
  });
}

test.serial('gives the method the same call over every way in', async (t) => {
  const token = server.issuer.token({ sub: viewer });
  const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
  const headers = {
    traceparent,
    'x-request-id': 'from-the-gateway.7',
    'grpc-timeout': '5S',
    'connect-timeout-ms': '5000',
  };
  for (const [way, call] of Object.entries(server.callers)) {
    const outcome = await call(getSubscription, subscription, { token, headers });
    t.is(outcome.error, undefined, way);
    t.is(lastCall?.method, 'billing.v1.SubscriptionService/GetSubscription', way);
    t.deepEqual(lastCall?.actor, { kind: 'customer', id: viewer }, way);
    t.is(lastCall?.traceparent, traceparent, way);
    t.is(lastCall?.requestHeaders['x-request-id'], 'from-the-gateway.7', way);
    t.is(lastCall?.remoteAddress, '127.0.0.1', way);
    const leftMs = (lastCall?.deadlineMs ?? 0) - Date.now();
    t.true(leftMs > 3_000 && leftMs <= 5_000, `${way}: ${leftMs}`);
  }
});

test.serial('writes one line per call, without token, message or cause for the caller', async (t) => {
  const token = server.issuer.token({ sub: viewer });
  for (const [way, call] of Object.entries(server.callers)) {
    const start = server.logLines.length;
    await call(getSubscription, subscription, { token, headers: { 'x-request-id': 'line-1' } });
    await call(PlanService.method.getPlan, plan('missing'), { token });
    const lines = server.logLines.slice(start).filter(({ msg }) => msg === 'rpc');
    t.is(lines.length, 2, way);
    t.like(
      lines[0],
      { method: 'billing.v1.SubscriptionService/GetSubscription', code: 'OK', actor: `customer:${viewer}` },
      way,
    );
    t.is(lines[0]?.['callId'], 'line-1', way);
    t.is(typeof lines[0]?.['durationMs'], 'number', way);
    t.like(lines[1], { code: 'NOT_FOUND', reason: 'PLAN_NOT_FOUND', actor: 'system:anonymous' }, way);
  }
  t.false(JSON.stringify(server.logLines).includes(token.split('.')[2]!));
});

test.serial('logs the cause of an internal error once, with its call', async (t) => {
  const start = server.logLines.length;
  await server.callers.grpc(PlanService.method.getPlan, plan('bug'));
  const [line, ...rest] = server.logLines.slice(start);
  t.like(line, { level: 50, code: 'INTERNAL', reason: 'INTERNAL' });
  t.true(JSON.stringify(line).includes('hunter2'));
  t.deepEqual(rest, []);
});
