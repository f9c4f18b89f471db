import test from 'ava';
import { Client } from 'pg';
import type { PaymentProvider } from '../payments/provider.ts';
import { createSandboxProvider } from '../payments/providers/sandbox/sandbox-provider.ts';
import { openDomain, type Domain } from '../testing/domain.ts';
import { startFaultProxy } from '../testing/fault-proxy.ts';
import { forgetPayment } from '../testing/forget-payment.ts';
import { startWorld, type World } from '../testing/world.ts';
import { findDisputes } from './find-disputes.ts';
import { followAttempts } from './follow-attempts.ts';

/** The service of this world hears notices and does nothing by itself: every look is a test's own. */
let world: World;
let replicas: [Domain, Domain];
test.before(async () => {
  world = await startWorld({ at: '2027-01-15T09:00:00Z', env: { BILLING_ROLES: 'api,relay' } });
  replicas = [await openDomain(world), await openDomain(world)];
});
test.after.always(async () => {
  await Promise.all((replicas ?? []).map((replica) => replica.stop()));
  await world?.stop();
});

/** Both clocks, by hand: nobody else makes a look. */
async function pass(hours: number): Promise<void> {
  const [row] = await world.query(
    `update sandbox_clock set set_to = set_to + make_interval(hours => $1) returning set_to`,
    [hours],
  );
  await world.paymentSystem.setClock((row!['set_to'] as Date).toISOString(), false);
}

/** A replica whose payment system is reached through this. */
function ctxOf({ ctx }: Domain, change: (good: PaymentProvider) => Partial<PaymentProvider> = () => ({})) {
  const [[name, good]] = [...ctx.providers] as [[string, PaymentProvider]];
  return { ...ctx, providers: new Map([[name, { ...good, ...change(good) }]]) };
}

/** A paid subscription whose payment is disputed, and nobody tells. */
async function disputedInSilence() {
  const viewer = await world.subscriber();
  await world.paymentSystem.script(viewer.userId, { webhooks: 'lost' });
  const charge = (await world.paymentSystem.payments()).find((one) => one.customer_reference === viewer.userId);
  const disputeId = await world.paymentSystem.dispute(charge!.id);
  const isKnown = async () =>
    (await world.query(`select 1 from dispute where provider_dispute_id = $1`, [disputeId])).length === 1;
  return { ...viewer, disputeId, isKnown };
}

async function place(): Promise<string> {
  const [row] = await world.query(`select looked_until from dispute_look`);
  return (row!['looked_until'] as Date).toISOString();
}

const businessTime = async () => {
  const [row] = await world.query(`select business_now() as now`);
  return (row!['now'] as Date).toISOString();
};

test.serial('of two replicas one looks, and no transaction is open while the payment system is asked', async (t) => {
  const viewer = await disputedInSilence();
  await pass(1);
  const [entered, released] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  let looks = 0;
  const first = findDisputes(
    ctxOf(replicas[0], (good) => ({
      async listDisputes(query) {
        looks += 1;
        entered.resolve();
        await released.promise;
        return good.listDisputes(query);
      },
    })),
  );
  await entered.promise;
  const unasked = () => Promise.reject(new Error('the other replica looks'));
  t.is(await findDisputes(ctxOf(replicas[1], () => ({ listDisputes: unasked }))), 0);
  const open = await world.query(
    `select query from pg_stat_activity where datname = current_database() and state like 'idle in transaction%'`,
  );
  t.deepEqual(open, []);
  released.resolve();
  t.is(await first, 1);
  t.is(looks, 1);
  t.true(await viewer.isKnown());
  t.is(await findDisputes(ctxOf(replicas[1])), 0, 'until tomorrow');
});

test.serial('replicas that tick together make one look a day, and settle what it finds once', async (t) => {
  let looks = 0;
  const counted = replicas.map((replica) =>
    ctxOf(replica, (good) => ({
      listDisputes(query) {
        looks += 1;
        return good.listDisputes(query);
      },
    })),
  );
  const tickTogether = () => Promise.all([...counted, ...counted, ...counted].map((ctx) => findDisputes(ctx)));
  for (let day = 1; day <= 5; day++) {
    const viewer = await disputedInSilence();
    await pass(24);
    await tickTogether();
    t.is(looks, day);
    await tickTogether();
    t.is(looks, day, 'not again on the same day');
    const facts = await world.query(`select kind from journal_fact where subscription_id = $1 and kind = 'DISPUTED'`, [
      viewer.subscriptionId,
    ]);
    t.is(facts.length, 1);
  }
});

test.serial('a payment system that fails keeps the place, and the look is made again an hour later', async (t) => {
  await pass(24);
  await findDisputes(ctxOf(replicas[0]));
  const before = await place();
  t.is(before, await businessTime());
  const viewer = await disputedInSilence();
  const proxy = await startFaultProxy(world.paymentSystem.url);
  t.teardown(() => proxy.close());
  const { apiKey, webhookSecret } = world.paymentSystem;
  const flaky = createSandboxProvider({ baseUrl: proxy.url, apiKey, webhookSecrets: [webhookSecret] });
  const ctx = ctxOf(replicas[0], () => ({ listDisputes: (query) => flaky.listDisputes(query) }));
  await pass(24);
  proxy.spoil('bad gateway');
  t.is(await findDisputes(ctx), 1);
  t.is(await place(), before);
  t.is(await findDisputes(ctx), 0, 'not at once');
  await pass(1);
  t.is(await findDisputes(ctx), 1);
  t.is(await place(), await businessTime());
  t.true(await viewer.isKnown());
});

test.serial('what a page brought is kept when the next one fails, and the whole is listed again', async (t) => {
  await pass(24);
  await findDisputes(ctxOf(replicas[0]));
  const viewers = [await disputedInSilence(), await disputedInSilence()];
  await pass(24);
  const before = await place();
  let isFailing = true;
  const ctx = ctxOf(replicas[0], (good) => ({
    // Pages of one dispute each.
    async listDisputes({ cursor = '0', ...span }) {
      const { disputes } = await good.listDisputes(span);
      const at = Number(cursor);
      if (isFailing && at === disputes.length - 1) throw new Error('the last page has no answer');
      const nextCursor = at + 1 < disputes.length ? String(at + 1) : undefined;
      return { disputes: disputes.slice(at, at + 1), nextCursor };
    },
  }));
  await findDisputes(ctx);
  t.deepEqual([await viewers[0]!.isKnown(), await viewers[1]!.isKnown()], [true, false]);
  t.is(await place(), before);
  isFailing = false;
  await pass(1);
  await findDisputes(ctx);
  t.true(await viewers[1]!.isKnown());
  t.is(await place(), await businessTime());
});

test.serial('one that cannot be settled keeps the place, and no other one waiting', async (t) => {
  await pass(24);
  await findDisputes(ctxOf(replicas[0]));
  const [stuck, other] = [await disputedInSilence(), await disputedInSilence()];
  await pass(24);
  const before = await place();
  const holder = new Client({ connectionString: world.databaseUrl });
  await holder.connect();
  await holder.query('begin');
  await holder.query(`select 1 from subscription where id = $1 for update`, [stuck.subscriptionId]);
  await findDisputes(ctxOf(replicas[0]));
  await holder.end();
  t.deepEqual([await stuck.isKnown(), await other.isKnown()], [false, true]);
  t.is(await place(), before);
  await pass(1);
  await findDisputes(ctxOf(replicas[0]));
  t.true(await stuck.isKnown());
});

test.serial('a dispute that shows up months after it was opened is found', async (t) => {
  const viewer = await disputedInSilence();
  const hidden = ctxOf(replicas[0], (good) => ({
    async listDisputes(query) {
      const { disputes, ...page } = await good.listDisputes(query);
      return { ...page, disputes: disputes.filter((one) => one.providerDisputeId !== viewer.disputeId) };
    },
  }));
  for (const days of [1, 30, 30, 30]) {
    await pass(days * 24);
    await findDisputes(hidden);
  }
  t.is(await place(), await businessTime());
  t.false(await viewer.isKnown());
  await pass(24);
  await findDisputes(ctxOf(replicas[0]));
  t.true(await viewer.isKnown());
});

test.serial('a dispute of money that we do not know to have come is settled when we do', async (t) => {
  const viewer = await disputedInSilence();
  const [payment] = await world.query(`select id from payment where subscription_id = $1`, [viewer.subscriptionId]);
  await forgetPayment(world.query, String(payment!['id']));
  await pass(24);
  await findDisputes(ctxOf(replicas[0]));
  t.false(await viewer.isKnown());
  await pass(24);
  await followAttempts(replicas[0].ctx);
  await findDisputes(ctxOf(replicas[0]));
  t.true(await viewer.isKnown());
});

test.serial('an account whose payment system is not configured keeps its place', async (t) => {
  await pass(24);
  const before = await place();
  const ctx = { ...replicas[0].ctx, providers: new Map<string, PaymentProvider>() };
  t.is(await findDisputes(ctx), 1);
  t.is(await place(), before);
  t.is(await findDisputes(ctx), 0, 'until an hour later');
});
