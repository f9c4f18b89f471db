import { randomUUID } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import { timestampDate } from '@bufbuild/protobuf/wkt';
import { SubscriptionEventKind, SubscriptionStatus } from '@cinema-billing/gen/billing/v1/subscription_pb.ts';
import { RpcError } from '../cli/grpc-client.ts';
import { viewerWith } from '../testing/changing-viewer.ts';
import { waitUntil } from '../testing/wait-until.ts';
import { copySubscription, startWorld, type World } from '../testing/world.ts';

let world: World;
let admin: { token: string };
test.before(async () => {
  world = await startWorld();
  admin = { token: await world.auth.token({ sub: 'olga', role: 'admin' }) };
});
test.after.always(() => world?.stop());

const softLater = '4000000000000341';

async function addPrice(amountMinor: number, unit = 'month', currency = 'RUB'): Promise<string> {
  const id = randomUUID();
  await world.query(`insert into price select $1, plan_id, $3, $4, $5, 1, created_at from price where id = $2`, [
    id,
    world.prices.basic,
    currency,
    amountMinor,
    unit,
  ]);
  return id;
}

/** Moves whoever has a price of the basic plan, and waits until all of them were told. */
async function move(t: ExecutionContext, fromPriceId: string, toPriceId: string, validateOnly = false) {
  const { planAdmin } = world.clients();
  t.teardown(() => planAdmin.close());
  const [row] = await world.query(`select plan_id from price where id = $1`, [fromPriceId]);
  const planId = row!['plan_id'] as string;
  const { plan } = await planAdmin.getPlan({ planId }, admin);
  const asked = { planId, etag: plan!.etag, fromPriceId, toPriceId, reason: 'dearer films', validateOnly };
  const moved = await planAdmin.movePrice({ requestId: randomUUID(), ...asked }, admin);
  await waitUntil('everybody is told', async () => {
    return (await world.query(`select 1 from price_move where finished_at is null`)).length === 0;
  });
  return moved;
}

/** To so many hours before the end of the paid period. */
async function advanceTo(subscriptionId: string, hoursBefore: number): Promise<void> {
  const [row] = await world.query(
    `select extract(epoch from current_period_end - business_now()) / 3600 as hours from subscription where id = $1`,
    [subscriptionId],
  );
  await world.advance({ hours: Number(row!['hours']) - hoursBefore });
}

test.serial(
  'price notice against renewal: a cycle that is due within seven days keeps the old price, the next has the new one',
  async (t) => {
    const viewer = await viewerWith(t, world);
    const dearer = await addPrice(34_900);
    await advanceTo(viewer.subscriptionId, 7 * 24 - 0.001);
    const preview = await move(t, world.prices.basic, dearer, true);
    t.deepEqual([preview.affectedSubscriberCount, preview.nextRenewalCount], [1n, 0n]);
    t.is((await viewer.seen()).announcedPriceId, '');
    const moved = await move(t, world.prices.basic, dearer);
    t.deepEqual([moved.affectedSubscriberCount, moved.nextRenewalCount], [1n, 0n]);
    const told = await viewer.seen();
    t.is(told.announcedPriceId, dearer);
    t.true(timestampDate(told.announcedPriceFrom!) >= timestampDate(moved.appliesFrom!));
    t.deepEqual(told.price!.amount!.amountMinor, 29_900n);
    await world.advance({ days: 8 });
    t.deepEqual(await viewer.charged(), [29_900]);
    await world.advance({ days: 31 });
    t.deepEqual(await viewer.charged(), [29_900, 34_900]);
    t.like(await viewer.seen(), { announcedPriceId: '', planCode: 'basic' });
    const { events } = await viewer.subscriptions.listSubscriptionEvents(
      { subscriptionId: viewer.subscriptionId },
      { token: viewer.token },
    );
    const announced = events.find(({ kind }) => kind === SubscriptionEventKind.PRICE_CHANGE_ANNOUNCED)!;
    t.deepEqual(
      [announced.actorId, announced.reason, announced.after!.announcedPriceId],
      ['olga', 'dearer films', dearer],
    );
  },
);

test.serial('exactly seven days are enough; who comes to the old price afterwards keeps it', async (t) => {
  const viewer = await viewerWith(t, world);
  const dearer = await addPrice(39_900);
  await advanceTo(viewer.subscriptionId, 7 * 24);
  t.is((await move(t, world.prices.basic, dearer)).nextRenewalCount, 1n);
  const late = await viewerWith(t, world);
  t.is((await late.seen()).announcedPriceId, '');
  await world.advance({ days: 7 });
  t.deepEqual(await viewer.charged(), [39_900]);
  await world.advance({ days: 28 });
  t.deepEqual(await late.charged(), [29_900]);
});

test.serial('retries of a failed renewal keep the price that was frozen', async (t) => {
  const viewer = await viewerWith(t, world, softLater);
  await advanceTo(viewer.subscriptionId, 0);
  t.is((await viewer.seen()).status, SubscriptionStatus.PAST_DUE);
  await move(t, world.prices.basic, await addPrice(44_900));
  await world.paymentSystem.script(viewer.userId, { charges: [{ outcome: 'ok' }] });
  await world.advance({ days: 2 });
  t.is((await viewer.seen()).status, SubscriptionStatus.ACTIVE);
  t.deepEqual(await viewer.charged(), [29_900]);
  await world.paymentSystem.script(viewer.userId, { charges: [{ outcome: 'ok' }] });
  await advanceTo(viewer.subscriptionId, 0);
  t.deepEqual(await viewer.charged(), [29_900, 44_900]);
});

test.serial('a cancellation undone does not escape the announced price; a plan of one’s own choice does', async (t) => {
  const [undone, changed] = [await viewerWith(t, world), await viewerWith(t, world)];
  const dearer = await addPrice(49_900);
  await move(t, world.prices.basic, dearer);
  const { subscriptionId, token, subscriptions } = undone;
  await subscriptions.cancelSubscription({ requestId: randomUUID(), subscriptionId }, { token });
  await subscriptions.resumeSubscription({ requestId: randomUUID(), subscriptionId }, { token });
  const other = await addPrice(24_900);
  await changed.change(other);
  await advanceTo(subscriptionId, 0);
  t.deepEqual(await undone.charged(), [49_900]);
  t.deepEqual(await changed.charged(), [24_900]);
  t.is((await changed.seen()).announcedPriceId, '');
});

test.serial('only another price of the same plan, interval and currency; the audit log has the move', async (t) => {
  const refusalOf = async (to: string) => {
    const error = await t.throwsAsync(move(t, world.prices.basic, to), { instanceOf: RpcError });
    return error!.reason;
  };
  t.is(await refusalOf(world.prices.premium), 'PRICE_NOT_ELIGIBLE');
  t.is(await refusalOf(world.prices.basic), 'PRICE_NOT_ELIGIBLE');
  t.is(await refusalOf(await addPrice(599_000, 'year')), 'PRICE_NOT_ELIGIBLE');
  t.is(await refusalOf(await addPrice(499, 'month', 'USD')), 'PRICE_NOT_ELIGIBLE');
  const from = await addPrice(11_100);
  const to = await addPrice(22_200);
  await move(t, from, to);
  const [entry] = await world.query(
    `select actor_id, reason, after from audit_entry where action = 'MovePrice' order by id desc limit 1`,
  );
  t.like(entry, { actor_id: 'olga', reason: 'dearer films' });
  t.like(entry!['after'], { moved_from_price_id: from, moved_to_price_id: to, affectedSubscribers: 0 });
});

test.serial('more subscribers than a batch holds are all told, each once', async (t) => {
  const { subscriptionId } = await world.subscriber();
  const from = await addPrice(12_300);
  for (let n = 0; n < 205; n++) {
    const id = await copySubscription(world, subscriptionId);
    await world.query(`update subscription set price_id = $2 where id = $1`, [id, from]);
  }
  t.is((await move(t, from, await addPrice(45_600))).affectedSubscriberCount, 205n);
  const [row] = await world.query(
    `select count(*)::int as n, count(distinct subscription_id)::int as who from subscription_event h
     join subscription s on s.id = h.subscription_id where s.price_id = $1 and h.kind = 'PRICE_CHANGE_ANNOUNCED'`,
    [from],
  );
  t.deepEqual(row, { n: 205, who: 205 });
});
