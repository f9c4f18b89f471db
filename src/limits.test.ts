import { randomUUID } from 'node:crypto';
import test from 'ava';
import { Client } from 'pg';
import { RpcError } from './cli/grpc-client.ts';
import { startSlowGate, type SlowGate } from './testing/slow-gate.ts';
import { waitUntil } from './testing/wait-until.ts';
import { startWorld, type World } from './testing/world.ts';

let world: World;
let gate: SlowGate;
test.before(async () => {
  world = await startWorld();
  gate = await startSlowGate(world.paymentSystem.url);
});
test.after.always(async () => {
  await world?.stop();
  await gate?.stop();
});

async function viewer(): Promise<{ userId: string; token: string }> {
  const userId = randomUUID();
  return { userId, token: await world.auth.token({ sub: userId }) };
}
const failure = (error: unknown) => {
  if (!(error instanceof RpcError)) throw error;
  return `${error.code} ${error.reason}`;
};

test.serial(
  'a deadline of 50 ms ends the waiting, and the same request id afterwards gives the one result',
  async (t) => {
    const replica = await world.startReplica({ SANDBOX_PAYMENT_URL: gate.url });
    const { subscriptions } = world.clients(replica);
    const { userId, token } = await viewer();
    const request = { requestId: randomUUID(), priceId: world.prices.basic };
    gate.holdMs = 1_500;
    const startedAtMs = performance.now();
    const first = await subscriptions.subscribe(request, { token, timeoutMs: 50 }).catch(failure);
    // The client's own clock or the server's word, whichever is faster.
    t.regex(String(first), /^DEADLINE_EXCEEDED /);
    t.true(performance.now() - startedAtMs < 1_000);
    gate.holdMs = 0;

    const seen = new Set<string>();
    const answer = await waitUntil('the repeat is answered', async () => {
      const repeat = await subscriptions.subscribe(request, { token }).catch(failure);
      if (typeof repeat !== 'string') return repeat;
      seen.add(repeat);
      return undefined;
    });
    t.deepEqual(
      [...seen].filter((error) => error !== 'ABORTED REQUEST_IN_PROGRESS'),
      [],
    );
    const again = await subscriptions.subscribe(request, { token });
    t.deepEqual(again, answer);
    await world.paymentSystem.pay(answer.checkout!.url);
    await waitUntil('the payment activates the subscription', async () => {
      const [row] = await world.query(`select status from subscription where user_id = $1`, [userId]);
      return row?.['status'] === 'ACTIVE';
    });
    const ledger = (await world.paymentSystem.payments()).filter((payment) => payment.customer_reference === userId);
    t.deepEqual(
      ledger.map(({ status, amount_minor: amountMinor }) => [status, amountMinor]),
      [['succeeded', '29900']],
    );
    subscriptions.close();
    await replica.stop();
  },
);

test.serial('SIGTERM finishes the call under way, and the process ends in good order', async (t) => {
  const replica = await world.startReplica({ SANDBOX_PAYMENT_URL: gate.url });
  const { subscriptions } = world.clients(replica);
  const { token } = await viewer();
  gate.holdMs = 2_000;
  const before = gate.calls;
  const running = subscriptions.subscribe({ requestId: randomUUID(), priceId: world.prices.basic }, { token });
  await waitUntil('the payment system is being asked', () => gate.calls > before);
  const stopping = replica.stop();
  t.truthy((await running).checkout?.url);
  t.is(await stopping, 0);
  gate.holdMs = 0;
  subscriptions.close();
});

test.serial('SIGTERM gives up on a call that takes too long, and what it left behind is picked up', async (t) => {
  const replica = await world.startReplica({ SANDBOX_PAYMENT_URL: gate.url });
  const { subscriptions } = world.clients(replica);
  const { userId, token } = await viewer();
  gate.holdMs = 14_000;
  const before = gate.calls;
  const request = { requestId: randomUUID(), priceId: world.prices.basic };
  const running = subscriptions.subscribe(request, { token }).catch(failure);
  await waitUntil('the payment system is being asked', () => gate.calls > before);
  const stoppingAtMs = performance.now();
  t.is(await replica.stop(), 0);
  t.true(performance.now() - stoppingAtMs < 12_000);
  t.is(typeof (await running), 'string');
  subscriptions.close();
  gate.holdMs = 0;

  // Thirty seconds later, as far as the lease of the request is concerned.
  await world.query(`update idempotent_request set lease_until = clock_timestamp() where request_id = $1`, [
    request.requestId,
  ]);
  const { subscriptions: others } = world.clients();
  const answer = await waitUntil('another replica answers the same request', async () =>
    others.subscribe(request, { token }).catch((error: unknown) => (failure(error), undefined)),
  );
  t.truthy(answer.checkout?.url);
  const ledger = (await world.paymentSystem.payments()).filter((payment) => payment.customer_reference === userId);
  t.is(ledger.length, 1);
  others.close();
});

test.serial('a call that gets no connection to the database is UNAVAILABLE within three seconds', async (t) => {
  const { subscriptions } = world.clients();
  const token = await world.auth.token({ sub: 'gateway', scope: 'billing.read' });
  const ask = () => subscriptions.listSubscriptions({ userId: randomUUID() }, { token });
  const blocker = new Client({ connectionString: world.databaseUrl });
  await blocker.connect();
  await blocker.query('begin; lock table subscription in access exclusive mode');
  const startedAtMs = performance.now();
  // Twelve connections wait for the lock; nobody else gets one.
  const outcomes = await Promise.all(
    Array.from({ length: 40 }, async () => {
      const outcome = await ask().then(() => 'OK', failure);
      return { outcome, afterMs: performance.now() - startedAtMs };
    }),
  );
  await blocker.query('rollback');
  await blocker.end();
  t.deepEqual(
    new Set(outcomes.map(({ outcome }) => outcome)),
    new Set(['ABORTED LOCK_TIMEOUT', 'UNAVAILABLE DATABASE_UNAVAILABLE']),
  );
  const waited = outcomes.filter(({ outcome }) => outcome.startsWith('UNAVAILABLE'));
  t.true(waited.length > 0 && waited.every(({ afterMs }) => afterMs < 3_000), JSON.stringify(waited));
  t.is((await ask()).subscriptions.length, 0, 'and the next call is fine');
  subscriptions.close();
});
