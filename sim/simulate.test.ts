import { randomUUID } from 'node:crypto';
import test from 'ava';
import { createTestDatabase } from '../src/testing/database.ts';
import { startTestNats } from '../src/testing/nats.ts';
import { holds } from './checks.ts';
import type { SimulatedSystem } from './simulated-system.ts';
import { lookAt, simulate, type Simulation, type SimulationOptions } from './simulate.ts';

const testMaxMs = 5 * 60_000;

async function live(options: Pick<SimulationOptions, 'users' | 'months' | 'seed' | 'atTheEnd'>): Promise<Simulation> {
  const database = await createTestDatabase();
  const nats = await startTestNats();
  try {
    const places = { databaseUrl: database.url, natsUrl: nats.url };
    return await simulate({ ...options, ...places, progress: () => undefined });
  } finally {
    await nats.remove();
    await database.drop();
  }
}

test('no two looks are so far apart that the jitter of a retry chooses between them', (t) => {
  const [years, dunningDays, jitterMaxHours] = [5, 14, 6];
  const hours = Array.from({ length: years * 365 }, (_, day) => lookAt(day).epochMilliseconds / 3_600_000);
  for (const [day, hour] of hours.entries()) {
    for (const later of hours.slice(day + 1, day + 2 + dunningDays)) {
      const pastWholeDays = (later - hour) % 24;
      t.true(
        pastWholeDays === 0 || pastWholeDays >= jitterMaxHours,
        `${lookAt(day).toString()} and ${later - hour} h later`,
      );
    }
  }
});

test.serial('twenty viewers live for half a year, and nothing that can be seen from outside is wrong', async (t) => {
  t.timeout(testMaxMs);
  const { summary, checks } = await live({ users: 20, months: 6, seed: 7 });
  t.deepEqual(
    checks.filter((check) => !holds(check)),
    [],
  );
  t.is(checks.length, 8);
  for (const name of ['activated', 'renewed', 'declined', 'churnedVoluntary'] as const) t.true(summary[name] > 0, name);
  t.true(summary.revenueMinor > 0n);
});

test.serial('the same seed gives the same facts and another seed others; what is planted is found', async (t) => {
  t.timeout(testMaxMs);
  const lives = { users: 6, months: 2 };
  const first = await live({ ...lives, seed: 7 });
  const again = await live({ ...lives, seed: 7 });
  const other = await live({ ...lives, seed: 8, atTheEnd: plant });
  t.true(first.summary.facts > 10);
  t.is(first.hash, again.hash);
  t.not(first.hash, other.hash);
  t.deepEqual(
    other.checks.filter((check) => !holds(check)).map(({ name }) => name),
    [
      'one charge per purpose',
      'periods tile',
      'leases are what states say',
      'Auth equals the database',
      'the provider’s books agree',
    ],
  );
});

/** A charge that nobody ordered, a period sold twice, and another lease than the state gives. */
async function plant(system: SimulatedSystem): Promise<void> {
  const { paymentSystem } = system;
  const charge = (await paymentSystem.payments()).find(({ status }) => status === 'succeeded')!;
  const answer = await fetch(`${paymentSystem.url}/v1/charges`, {
    method: 'POST',
    headers: { authorization: `Bearer ${paymentSystem.apiKey}`, 'idempotency-key': 'planted' },
    body: JSON.stringify({
      amount_minor: charge.amount_minor,
      currency: charge.currency,
      reference: randomUUID(),
      customer: charge.customer,
      payment_method: charge.payment_method!.id,
    }),
  });
  if (!answer.ok) throw new Error(`the planted charge was refused: ${await answer.text()}`);
  await system.query(
    `insert into subscription_event select gen_random_uuid(), subscription_id, user_id, 'RENEWED', actor_kind, actor_id,
       reason, before, after, occurred_at + interval '1 ms' from subscription_event where kind = 'ACTIVATED' limit 1`,
  );
  await system.query(
    `update entitlement set version = version + 1, grants = jsonb_set(grants, '{0,access_until}', '"2099-01-01T00:00:00Z"')
     where user_id in (select user_id from entitlement where jsonb_array_length(grants) > 0 limit 1)`,
  );
}
