import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import type { CancelEffective } from '@cinema-billing/gen/billing/v1/subscription_service_pb.ts';
import { RpcError } from './cli/grpc-client.ts';
import { startWorld, type World } from './testing/world.ts';

let world: World;
test.before(async () => {
  world = await startWorld();
});
test.after.always(() => world?.stop());

/** Everything that a bad call could have changed, as one value. */
async function allRows(): Promise<unknown> {
  return world.query(
    `select (select count(*)::int from subscription) as subscriptions, (select count(*)::int from subscription_event) as history,
       (select count(*)::int from payment_attempt) as attempts, (select count(*)::int from outbox_message) as messages,
       (select count(*)::int from webhook_event) as notices, (select count(*)::int from idempotent_request) as requests,
       (select json_agg(s order by id) from subscription s) as states`,
  );
}

test.serial('each bad call gets its documented code and reason, and no row changes', async (t) => {
  const { subscriptionId, token, userId } = await world.subscriber();
  const { plans, subscriptions } = world.clients();
  const requestId = randomUUID();
  const priceId = world.prices.basic;
  const expired = await world.auth.token({ sub: userId, expiresInS: 1 });
  const operator = await world.auth.token({ sub: 'olga', role: 'read_only' });
  const reader = await world.auth.token({ sub: 'gateway', scope: 'billing.read' });
  const writer = await world.auth.token({ sub: 'gateway', scope: 'billing.write' });
  const forged = `${token.slice(0, -6)}AAAAAA`;
  const stranger = await world.auth.token({ sub: randomUUID() });
  await new Promise((resolve) => setTimeout(resolve, 7_000)); // the token's second and the tolerance of five

  const before = await allRows();
  const cases: [what: string, call: Promise<unknown>, code: string, reason: string][] = [
    ['no token', subscriptions.subscribe({ requestId, priceId }), 'UNAUTHENTICATED', 'TOKEN_MISSING'],
    [
      'an expired token',
      subscriptions.subscribe({ requestId, priceId }, { token: expired }),
      'UNAUTHENTICATED',
      'TOKEN_INVALID',
    ],
    [
      'a forged token',
      subscriptions.subscribe({ requestId, priceId }, { token: forged }),
      'UNAUTHENTICATED',
      'TOKEN_INVALID',
    ],
    [
      'an operator at a viewer call',
      subscriptions.subscribe({ requestId, priceId }, { token: operator }),
      'PERMISSION_DENIED',
      'PERMISSION_DENIED',
    ],
    [
      'a service that may only read',
      subscriptions.subscribe({ requestId, priceId, userId }, { token: reader }),
      'PERMISSION_DENIED',
      'PERMISSION_DENIED',
    ],
    [
      'a service that names nobody',
      subscriptions.subscribe({ requestId, priceId }, { token: writer }),
      'INVALID_ARGUMENT',
      'USER_ID_REQUIRED',
    ],
    [
      'a viewer who names another',
      subscriptions.subscribe({ requestId, priceId, userId: randomUUID() }, { token }),
      'PERMISSION_DENIED',
      'USER_NOT_YOURS',
    ],
    [
      'a malformed id',
      subscriptions.getSubscription({ subscriptionId: "1' or '1'='1" }, { token }),
      'INVALID_ARGUMENT',
      'INVALID_FIELDS',
    ],
    [
      'a malformed request id',
      subscriptions.subscribe({ requestId: 'again', priceId }, { token }),
      'INVALID_ARGUMENT',
      'INVALID_FIELDS',
    ],
    ['a missing request id', subscriptions.subscribe({ priceId }, { token }), 'INVALID_ARGUMENT', 'INVALID_FIELDS'],
    [
      'a script as the return url',
      subscriptions.subscribe({ requestId, priceId, returnUrl: 'javascript:alert(1)' }, { token }),
      'INVALID_ARGUMENT',
      'INVALID_FIELDS',
    ],
    [
      'an unknown price',
      subscriptions.subscribe({ requestId, priceId: randomUUID() }, { token: stranger }),
      'NOT_FOUND',
      'PLAN_NOT_FOUND',
    ],
    ['an unknown plan', plans.getPlan({ code: 'gold' }), 'NOT_FOUND', 'PLAN_NOT_FOUND'],
    ['a currency in small letters', plans.listPlans({ currencyCode: 'rub' }), 'INVALID_ARGUMENT', 'INVALID_FIELDS'],
    [
      'a second open subscription',
      subscriptions.subscribe({ requestId, priceId: world.prices.premium }, { token }),
      'ALREADY_EXISTS',
      'SUBSCRIPTION_EXISTS',
    ],
    [
      'an unknown way to cancel',
      subscriptions.cancelSubscription({ requestId, subscriptionId, effective: 7 as CancelEffective }, { token }),
      'INVALID_ARGUMENT',
      'INVALID_FIELDS',
    ],
    [
      'a reason as long as a book',
      subscriptions.cancelSubscription({ requestId, subscriptionId, reason: 'x'.repeat(257) }, { token }),
      'INVALID_ARGUMENT',
      'INVALID_FIELDS',
    ],
    [
      'a body over 256 KiB',
      subscriptions.cancelSubscription({ requestId, subscriptionId, reason: 'x'.repeat(300_000) }, { token }),
      'RESOURCE_EXHAUSTED',
      'BODY_TOO_LARGE',
    ],
    [
      'undoing what was not asked',
      subscriptions.resumeSubscription({ requestId, subscriptionId }, { token }),
      'FAILED_PRECONDITION',
      'ILLEGAL_TRANSITION',
    ],
    [
      'a page of another list',
      subscriptions.listSubscriptions({ pageToken: 'AAAA' }, { token }),
      'INVALID_ARGUMENT',
      'PAGE_TOKEN_INVALID',
    ],
    [
      'a page that is too large',
      subscriptions.listSubscriptions({ pageSize: 501 }, { token }),
      'INVALID_ARGUMENT',
      'INVALID_FIELDS',
    ],
  ];
  for (const [what, call, code, reason] of cases) {
    const error = await t.throwsAsync(call, { instanceOf: RpcError }, what);
    t.deepEqual([error!.code, error!.reason], [code, reason], what);
  }
  t.deepEqual(await allRows(), before);
});

test.serial('bad bodies at the webhook get their documented answer, and no row changes', async (t) => {
  const before = await allRows();
  const post = (path: string, body: string, headers: Record<string, string> = {}) =>
    fetch(`${world.service.httpUrl}${path}`, {
      method: 'POST',
      body,
      headers: { 'content-type': 'application/json', ...headers },
    });
  const cases: [what: string, answer: Promise<Response>, status: number, reason: string][] = [
    ['no signature', post('/v1/webhooks/sandbox', '{}'), 400, 'WEBHOOK_SIGNATURE_INVALID'],
    ['an unknown payment system', post('/v1/webhooks/paypal', '{}'), 404, 'PROVIDER_NOT_FOUND'],
    ['a name that is none', post('/v1/webhooks/..%2Fadmin', '{}'), 400, 'INVALID_FIELDS'],
    ['a body over 256 KiB', post('/v1/webhooks/sandbox', 'x'.repeat(256 * 1024 + 1)), 413, 'BODY_TOO_LARGE'],
    ['GET', fetch(`${world.service.httpUrl}/v1/webhooks/sandbox`), 405, 'HTTP_METHOD_NOT_ALLOWED'],
    ['another path', post('/v1/webhook', '{}'), 404, 'PATH_NOT_FOUND'],
  ];
  for (const [what, pending, status, reason] of cases) {
    const answer = await pending;
    t.is(answer.status, status, what);
    t.true((await answer.text()).includes(`"${reason}"`), what);
  }
  t.deepEqual(await allRows(), before);
});

test('every reason in the sources is documented in docs/errors.md, and the other way round', (t) => {
  const root = join(import.meta.dirname, '..');
  const documented = new Set(
    [...readFileSync(join(root, 'docs/errors.md'), 'utf8').matchAll(/^\| `([A-Z_]+)`/gm)].map(([, reason]) => reason),
  );
  const used = new Set<string>();
  const files = readdirSync(import.meta.dirname, { recursive: true, encoding: 'utf8' }).filter(
    (file) => file.endsWith('.ts') && !file.endsWith('.test.ts') && !file.startsWith('testing'),
  );
  for (const file of files) {
    const text = readFileSync(join(import.meta.dirname, file), 'utf8');
    for (const [, reason] of text.matchAll(/new BillingError\(\s*'[a-z-]+',\s*'([A-Z_]+)'/g)) used.add(reason!);
  }
  t.true(used.size > 20);
  t.deepEqual([...used].sort(), [...documented].sort());
});

test('the plans on sale are the same over gRPC and over REST', async (t) => {
  const { plans } = await world.clients().plans.listPlans({ currencyCode: 'RUB' });
  const answer = await fetch(`${world.service.httpUrl}/v1/plans?currency_code=RUB`);
  const rest = (await answer.json()) as { plans: { code: string; prices: { amount: { amountMinor: string } }[] }[] };
  const facts = [
    ['basic', '29900'],
    ['premium', '99900'],
  ];
  t.deepEqual(
    plans.map(({ code, prices }) => [code, prices[0]!.amount!.amountMinor.toString()]),
    facts,
  );
  t.deepEqual(
    rest.plans.map(({ code, prices }) => [code, prices[0]!.amount.amountMinor]),
    facts,
  );
});
