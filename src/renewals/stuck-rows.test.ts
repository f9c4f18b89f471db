import test from 'ava';
import { openDomain } from '../testing/domain.ts';
import { startWorld } from '../testing/world.ts';
import { claimBatchMax, claimDue } from './claim-due.ts';

test('rows that cannot be charged, as many as a batch, keep nobody else from being renewed', async (t) => {
  const world = await startWorld();
  const domain = await openDomain(world);
  t.teardown(async () => {
    await domain.stop();
    await world.stop();
  });
  const { subscriptionId } = await world.subscriber();
  await world.service.stop();
  // Broken by hand, due a day longer than the healthy one: half owe nothing, half have paid for what is due.
  await world.query(`insert into customer select md5('stuck ' || i)::uuid, now() from generate_series(1, $1::int) i`, [
    claimBatchMax,
  ]);
  await world.query(
    `insert into subscription (id, user_id, plan_id, price_id, product_line, status, billing_time_zone, anchor_at,
       current_period_start, current_period_end, payment_method_id, next_charge_at, dunning_ends_at, created_at)
     select md5('stuck ' || i)::uuid, md5('stuck ' || i)::uuid, plan_id, price_id, product_line,
       case when i % 2 = 0 then 'PAST_DUE' else 'ACTIVE' end, billing_time_zone, anchor_at, current_period_start,
       current_period_end, payment_method_id, next_charge_at - interval '1 day',
       case when i % 2 = 0 then current_period_end + interval '14 days' end, created_at
     from subscription, generate_series(1, $2::int) i where id = $1`,
    [subscriptionId, claimBatchMax],
  );
  await world.query(
    `insert into payment (id, subscription_id, user_id, purpose, amount_minor, currency_code, status, created_at,
       settled_at)
     select gen_random_uuid(), id, id, 'cycle:1', 29900, 'RUB', 'SUCCEEDED', now(), now() from subscription
     where id <> $1 and status = 'ACTIVE'`,
    [subscriptionId],
  );
  // And one whose payment was tried as often as a payment may be: one more would fail the claim for everybody.
  await world.query(
    `with payment as (
       insert into payment (id, subscription_id, user_id, purpose, amount_minor, currency_code, status, created_at)
       select md5('tried')::uuid, id, id, 'cycle:1', 29900, 'RUB', 'PENDING', now() from subscription
       where status = 'PAST_DUE' limit 1 returning id, subscription_id)
     insert into payment_attempt (id, payment_id, subscription_id, attempt_number, kind, idempotency_key, provider,
       merchant_account, payment_method_id, amount_minor, currency_code, description, state, lease_until, created_at,
       settled_at)
     select gen_random_uuid(), payment.id, subscription_id, i, 'charge', 'tried ' || i, 'sandbox', 'sandbox-cinema',
       m.id, 29900, 'RUB', '', 'DECLINED', now(), now(), now()
     from payment, (select id from payment_method limit 1) m, generate_series(1, 15) i`,
  );
  await world.query(`update sandbox_clock set set_to = (select max(next_charge_at) from subscription)`);
  const claimed = [...(await claimDue(domain.ctx)), ...(await claimDue(domain.ctx))];
  t.deepEqual(
    claimed.map((attempt) => attempt.subscriptionId),
    [subscriptionId],
  );
  const [later] = await world.query(
    `select count(*)::int as rows, min(next_charge_at - business_now())::text as waits from subscription
     where next_charge_at > business_now()`,
  );
  t.deepEqual(later, { rows: claimBatchMax, waits: '01:00:00' });
});
