import { randomUUID } from 'node:crypto';
import { mapBounded } from '../src/payments/call-provider.ts';
import { findAttempts } from '../src/payments/attempt-rows.ts';
import { cancelSubscription } from '../src/subscriptions/cancel-subscription.ts';
import { openDomain, type Domain } from '../src/testing/domain.ts';
import type { CustomerScript } from '../src/testing/payment-system.ts';
import { waitUntil } from '../src/testing/wait-until.ts';
import { copySubscription, startWorld, type World } from '../src/testing/world.ts';
import { checkInvariants, type Check } from './checks.ts';
import type { Scenario } from './scenario.ts';

const successesDefault = 1_000;
const concurrency = 16;
const openMaxMs = 120_000;
/** The provider repeats a call that lost a kept connection, once. */
const callsOfLostMax = 2;

/** How money comes that nobody waits for any more. */
interface Way {
  readonly name: string;
  readonly script: (count: number) => Partial<CustomerScript>;
  /** What our attempt is when the subscription is cancelled. */
  readonly openState: 'WAITING' | 'UNKNOWN';
  /** The request, lost on its way and given up by us, arrives after all. */
  readonly arrivesLate?: boolean;
}

const ways: readonly Way[] = [
  {
    name: 'the payment system takes an hour',
    script: (times) => ({ charges: [{ outcome: 'processing', times }], webhooks: 'duplicated' }),
    openState: 'WAITING',
  },
  {
    name: 'taken, answered with 500, and every notice lost',
    script: (times) => ({ charges: [{ outcome: 'charged_500', times }], webhooks: 'lost' }),
    openState: 'UNKNOWN',
  },
  {
    name: 'given up, and then the lost request arrives',
    script: (count) => ({
      charges: [{ outcome: 'nothing_reset', times: count * callsOfLostMax }],
      webhooks: 'duplicated',
    }),
    openState: 'UNKNOWN',
    arrivesLate: true,
  },
];

/** Money that comes after we gave up goes back, each time once, and touches nothing else. */
export const lateSuccess: Scenario = ({ progress }) => succeedLate(successesDefault, progress);

/** That many late successes, in a world of their own with two replicas. */
export async function succeedLate(count: number, progress: (line: string) => void): Promise<Check[]> {
  const world = await startWorld({ env: { BILLING_LOG_LEVEL: 'silent' } });
  const domain = await openDomain(world);
  try {
    await world.startReplica();
    const { userId, subscriptionId } = await world.subscriber();
    await world.advance({ hours: 0 });
    const gone: string[] = [];
    for (const [index, way] of ways.entries()) {
      const share = Math.floor(count / ways.length) + (index < count % ways.length ? 1 : 0);
      const ids = await copies(world, subscriptionId, share);
      await playWay(world, domain, way, { userId, ids });
      gone.push(...ids);
      progress(`${way.name}: ${share} successes`);
    }
    const before = await leftAlone(world, gone);
    await world.advance({ days: 2 });
    return [
      await eachWentBackOnce(world, gone),
      {
        name: 'neither subscription nor rights were touched',
        examined: gone.length,
        broken: before === (await leftAlone(world, gone)) ? [] : ['a subscription or its rights changed'],
      },
      ...(await checkInvariants(world)),
    ];
  } finally {
    await domain.stop();
    await world.stop();
  }
}

async function copies(world: World, subscriptionId: string, count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let n = 0; n < count; n++) ids.push(await copySubscription(world, subscriptionId));
  return ids;
}

async function playWay(
  world: World,
  domain: Domain,
  { script, openState, arrivesLate = false }: Way,
  { userId, ids }: { userId: string; ids: string[] },
): Promise<void> {
  await world.paymentSystem.script(userId, script(ids.length));
  await world.query(`update subscription set next_charge_at = business_now() where id = any($1)`, [ids]);
  await waitUntil(
    `all charges are ${openState}`,
    async () => (await attemptsOf(world, ids, openState)).length === ids.length,
    openMaxMs,
  );
  await mapBounded(ids, concurrency, (subscriptionId) =>
    cancelSubscription(domain.ctx, {
      requestId: randomUUID(),
      subscriptionId,
      effective: 'now',
      reason: '',
      refund: 'none',
    }),
  );
  await world.advance({ hours: 2 });
  if (!arrivesLate) return;
  const dead = await attemptsOf(world, ids, 'DEAD');
  if (dead.length !== ids.length) throw new Error(`${dead.length} of ${ids.length} were given up`);
  // What is left of the losses would be played on.
  await world.paymentSystem.script(userId, { webhooks: 'duplicated' });
  const provider = [...domain.ctx.providers.values()][0]!;
  await mapBounded(await findAttempts(domain.ctx.em.fork(), dead), concurrency, (attempt) =>
    provider.charge({
      idempotencyKey: attempt.idempotencyKey,
      reference: attempt.id,
      amount: attempt.amount,
      providerCustomerId: attempt.providerCustomerId!,
      providerMethodId: attempt.providerMethodId!,
      description: attempt.description,
    }),
  );
  await world.advance({ hours: 1 });
}

async function attemptsOf(world: World, ids: readonly string[], state: string): Promise<string[]> {
  const rows = await world.query(
    `select id from payment_attempt where subscription_id = any($1) and state = $2 and lease_until <= clock_timestamp()`,
    [ids, state],
  );
  return rows.map(({ id }) => String(id));
}

/** Counted in the payment system's ledger, and one refund of ours for each. */
async function eachWentBackOnce(world: World, ids: readonly string[]): Promise<Check> {
  const rows = await world.query(
    `select a.id, a.surplus, count(r.id)::int as refunds, count(r.id) filter (where r.state = 'SUCCEEDED')::int as made
     from payment_attempt a left join refund r on r.attempt_id = a.id where a.subscription_id = any($1) group by a.id`,
    [ids],
  );
  const charges = Map.groupBy(
    (await world.paymentSystem.payments()).filter(({ status }) => status === 'succeeded'),
    ({ reference }) => reference,
  );
  const broken = rows.flatMap(({ id, surplus, refunds, made }) => {
    const taken = charges.get(String(id)) ?? [];
    const isBack = taken.length === 1 && taken[0]!.refunded_minor === taken[0]!.amount_minor;
    if (isBack && surplus === true && refunds === 1 && made === 1) return [];
    const back = taken.map(({ refunded_minor }) => refunded_minor).join();
    return [`attempt ${String(id)}: ${taken.length} charges, ${back} back, ${String(made)}/${String(refunds)} refunds`];
  });
  if (rows.length !== ids.length) broken.push(`${rows.length} attempts of ${ids.length}`);
  return { name: 'each late success went back once', examined: rows.length, broken };
}

/** All that a late success must not touch, as one text. */
async function leftAlone(world: World, ids: readonly string[]): Promise<string> {
  const rows = await world.query(
    `select s.*, e.version, e.grants from subscription s left join entitlement e using (user_id) where s.id = any($1)
     order by s.id`,
    [ids],
  );
  return JSON.stringify(rows);
}
