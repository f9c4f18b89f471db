import { randomUUID } from 'node:crypto';
import test from 'ava';
import { CancelEffective } from '@cinema-billing/gen/billing/v1/subscription_service_pb.ts';
import { startWorld } from '../testing/world.ts';
import { waitUntil } from '../testing/wait-until.ts';

const viewers = 24;

test('with NATS away the API keeps answering, and once it is back Auth equals the database', async (t) => {
  const world = await startWorld();
  try {
    const subscribers = [];
    for (let n = 0; n < viewers; n++) subscribers.push(await world.subscriber());
    await world.nats.kill();
    const { subscriptions } = world.clients();
    // A third cancels now, a third at the end, a third at the end and then not.
    for (const [n, { subscriptionId, token }] of subscribers.entries()) {
      const effective = n % 3 === 0 ? CancelEffective.NOW : CancelEffective.AT_PERIOD_END;
      await subscriptions.cancelSubscription({ requestId: randomUUID(), subscriptionId, effective }, { token });
      if (n % 3 === 2) await subscriptions.resumeSubscription({ requestId: randomUUID(), subscriptionId }, { token });
    }
    const [waiting] = await world.query(
      `select count(distinct user_id)::int as n from outbox_message where published_at is null`,
    );
    t.true((waiting!['n'] as number) >= 20);

    await world.nats.start();
    await waitUntil(
      'everything is published',
      async () => (await world.query(`select 1 from outbox_message where published_at is null limit 1`)).length === 0,
      40_000,
    );
    const stored = await world.query(
      `select user_id, version::int as version, rights_version::int as rights_version, grants from entitlement order by user_id`,
    );
    t.is(stored.length, viewers);
    t.is(stored.filter(({ grants }) => (grants as unknown[]).length === 0).length, viewers / 3);
    await waitUntil('Auth has the last version of every user', async () => {
      const users = await world.auth.users();
      return (
        users.length === viewers &&
        stored.every((row) => users.some((user) => user.user_id === row['user_id'] && user.version === row['version']))
      );
    });
    const atAuth = (await world.auth.users()).map(({ user_id, version, rights_version, grants }) => ({
      user_id,
      version,
      rights_version,
      grants: grants.map((grant) => ({ ...grant })),
    }));
    t.deepEqual(
      atAuth.sort((a, b) => (a.user_id < b.user_id ? -1 : 1)),
      stored as unknown as typeof atAuth,
    );
  } finally {
    await world.stop();
  }
});
