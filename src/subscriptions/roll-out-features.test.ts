import { randomUUID } from 'node:crypto';
import test from 'ava';
import { openDomain, type Domain } from '../testing/domain.ts';
import { waitUntil } from '../testing/wait-until.ts';
import { copySubscription, startWorld, type World } from '../testing/world.ts';
import { rollOutFeatures } from './roll-out-features.ts';

let world: World;
let domain: Domain;
test.before(async () => {
  world = await startWorld();
  domain = await openDomain(world);
});
test.after.always(async () => {
  await domain?.stop();
  await world?.stop();
});

/** Subscribers of the plan `basic`, beside the first one; more than two batches of 200. */
const copies = 450;

async function updateBasic(features: string[]): Promise<void> {
  const token = await world.auth.token({ sub: 'olga', role: 'admin' });
  const { planAdmin } = world.clients();
  const { plans } = await planAdmin.listPlans({ pageSize: 500 }, { token });
  const { plan, etag } = plans.find((found) => found.plan?.code === 'basic')!;
  const { affectedSubscriberCount } = await planAdmin.updatePlan(
    {
      requestId: randomUUID(),
      reason: 'more for everybody',
      planId: plan!.id,
      etag,
      features,
      updateMask: { paths: ['features'] },
    },
    { token },
  );
  if (affectedSubscriberCount === 0n) throw new Error('the change should touch somebody');
  planAdmin.close();
}

test.serial('a subscriber of a changed plan gets its new features, and Auth revokes the old tokens', async (t) => {
  const { userId } = await world.subscriber();
  const before = await waitUntil('Auth knows the viewer', async () => {
    const user = await world.auth.user(userId);
    return user.version >= 1 && user;
  });
  await updateBasic(['catalog.base', 'video.hdr']);
  const after = await waitUntil('Auth has the new features', async () => {
    const user = await world.auth.user(userId);
    return user.features.includes('video.hdr') && user;
  });
  t.is(after.version, before.version + 1);
  const [row] = await world.query(
    `select kind, rights_version::int, reason from outbox_message where user_id = $1 order by version desc limit 1`,
    [userId],
  );
  t.deepEqual(row, { kind: 'FEATURES_CHANGED', rights_version: after.version, reason: 'PLAN_UPDATED' });
});

test.serial('a change that is broken off in the middle reaches everybody, each exactly once', async (t) => {
  const { subscriptionId } = await world.subscriber();
  for (let n = 0; n < copies; n++) await copySubscription(world, subscriptionId);
  await world.query(`
    insert into entitlement select s.user_id, 1, 1, jsonb_build_array(jsonb_build_object('product_line', 'cinema',
      'subscription_id', s.id, 'plan_code', 'basic', 'features', '["catalog.base","video.hdr"]'::jsonb,
      'access_until', '2027-02-18T09:00:00Z', 'in_grace', false)), now() from subscription s on conflict do nothing`);
  await world.service.kill();
  await world.query(`delete from feature_rollout`);
  await world.query(`update plan set features = '{catalog.base,video.hdr,video.uhd}' where code = 'basic'`);
  await world.query(`insert into feature_rollout
    select id, null, clock_timestamp(), clock_timestamp(), clock_timestamp() from plan where code = 'basic'`);
  t.is(await rollOutFeatures(domain.ctx), 200);
  const [half] = await world.query(`select count(*)::int as told from outbox_message where kind = 'FEATURES_CHANGED'
    and grants::text like '%video.uhd%'`);
  t.is(half!['told'], 200);
  world.service = await world.startReplica();
  await waitUntil('the rest is told', async () => (await world.query(`select 1 from feature_rollout`)).length === 0);
  const [whole] = await world.query(`
    select count(*)::int as told, count(distinct user_id)::int as users,
      (select count(*)::int from subscription where ended_at is null) as subscribers,
      (select count(*)::int from entitlement where grants::text not like '%video.uhd%') as missed
    from outbox_message where kind = 'FEATURES_CHANGED' and grants::text like '%video.uhd%'`);
  const all = copies + 2;
  t.deepEqual(whole, { told: all, users: all, subscribers: all, missed: 0 });
});
