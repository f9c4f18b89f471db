import { Client } from 'pg';
import type { SideAnswer, SideInput } from '../renewals.ts';

const batchSize = 500;
const connections = 2;

/** Claims a batch: payments, attempts as sent, the mark in the subscription; answers their ids as one text. */
const claim = `
  with clock as materialized (select business_now() as now),
  due as (
    select id, user_id, plan_id, price_id, payment_method_id, cycle, anchor_at, billing_time_zone, current_period_end
    from subscription
    where next_charge_at <= (select now from clock) and open_payment_id is null and payment_method_id is not null
    order by next_charge_at, id limit ${batchSize} for update skip locked
  ), owed as (
    insert into payment (id, subscription_id, user_id, purpose, amount_minor, currency_code, period_start, period_end,
      status, created_at)
    select uuidv7(), due.id, due.user_id, 'cycle:' || due.cycle + 1, price.amount_minor, price.currency_code,
      due.current_period_end,
      (due.anchor_at at time zone due.billing_time_zone + make_interval(months => due.cycle + 2))
        at time zone due.billing_time_zone,
      'PENDING', (select now from clock)
    from due join price on price.id = due.price_id
    returning id, subscription_id, amount_minor, currency_code
  ), attempted as (
    insert into payment_attempt (id, payment_id, subscription_id, attempt_number, kind, idempotency_key, provider,
      merchant_account, payment_method_id, amount_minor, currency_code, description, state, lease_until, next_check_at,
      created_at)
    select uuidv7(), owed.id, due.id, 1, 'charge', owed.id || ':1', method.provider, method.merchant_account, method.id,
      owed.amount_minor, owed.currency_code, plan.name, 'SENT', clock_timestamp() + interval '30 seconds',
      (select now from clock) + interval '30 seconds', (select now from clock)
    from owed join due on due.id = owed.subscription_id join plan on plan.id = due.plan_id
      join payment_method method on method.id = due.payment_method_id
  ), marked as (
    update subscription s set open_payment_id = owed.id from owed where s.id = owed.subscription_id returning s.id
  )
  select array_agg(id)::text as ids from marked`;

const snapshot = (start: string, end: string) => `jsonb_build_object('status', 'ACTIVE', 'plan_code', mine.plan_code,
  'amount_minor', mine.amount_minor::text, 'currency_code', mine.currency_code, 'current_period_start', ${start},
  'current_period_end', ${end}, 'cancel_at_period_end', false)`;

const ms = (instant: string) => `floor(extract(epoch from ${instant}) * 1000)::bigint`;

/** Settles a batch: attempts, payments, periods, history, entitlements, messages and the journal with its hash. */
const settle = `
  with clock as materialized (select business_now() as now),
  mine as materialized (
    select s.id, s.user_id, s.product_line, s.current_period_start, p.id as payment_id, p.period_start, p.period_end,
      p.amount_minor, p.currency_code, a.id as attempt_id, plan.code as plan_code, plan.features
    from subscription s join payment p on p.id = s.open_payment_id
      join payment_attempt a on a.payment_id = p.id and a.attempt_number = 1 join plan on plan.id = s.plan_id
    where s.id = any($1::uuid[]) order by s.id for update of s, p, a
  ), attempts as (
    update payment_attempt a set state = 'SUCCEEDED', provider_payment_id = 'pay_' || a.id, next_check_at = null,
      lease_until = clock_timestamp(), settled_at = (select now from clock)
    from mine where a.id = mine.attempt_id
  ), payments as (
    update payment p set status = 'SUCCEEDED', settled_at = (select now from clock) from mine where p.id = mine.payment_id
  ), states as (
    update subscription s set cycle = s.cycle + 1, current_period_start = mine.period_start,
      current_period_end = mine.period_end, next_charge_at = mine.period_end, open_payment_id = null
    from mine where s.id = mine.id
  ), history as (
    insert into subscription_event (id, subscription_id, user_id, kind, actor_kind, actor_id, reason, before, after,
      occurred_at)
    select uuidv7(), mine.id, mine.user_id, 'RENEWED', 'system', 'renewals', 'PAYMENT_SUCCEEDED',
      ${snapshot('mine.current_period_start', 'mine.period_start')},
      ${snapshot('mine.period_start', 'mine.period_end')}, (select now from clock)
    from mine
  ), rights as (
    update entitlement e set version = e.version + 1, updated_at = (select now from clock),
      grants = jsonb_build_array(jsonb_build_object('product_line', mine.product_line, 'subscription_id', mine.id,
        'plan_code', mine.plan_code, 'features', mine.features, 'access_until', mine.period_end + interval '72 hours',
        'in_grace', false))
    from mine where e.user_id = mine.user_id
    returning e.user_id, e.version, e.rights_version, e.grants
  ), head as materialized (
    select coalesce(max(sequence), 0) + 1 as sequence, coalesce((select hash from journal_batch where lane = $2::int
      order by sequence desc limit 1), decode(repeat('0', 64), 'hex')) as previous_hash
    from journal_batch where lane = $2::int
  ), fact as materialized (
    select row_number() over (order by id) as position, mine.* from mine
  ), batch as (
    insert into journal_batch (lane, sequence, previous_hash, hash, fact_count, recorded_at)
    select $2::int, head.sequence, head.previous_hash, sha256(convert_to(format(E'journal-1\\t%s\\t%s\\t%s\\t%s\\t%s\\n',
        $2::int, head.sequence, encode(head.previous_hash, 'hex'), count(*), ${ms('clock.now')}) || string_agg(format(
          E'%s\\tCHARGED\\t%s\\t%s\\t%s\\t\\tbench\\tbench\\tpay_%s\\t\\t%s\\t%s\\t%s\\t%s\\t%s\\n', position, id, payment_id,
          attempt_id, attempt_id, amount_minor, currency_code, ${ms('period_start')}, ${ms('period_end')}, ${ms('clock.now')}),
          '' order by position), 'UTF8')), count(*), clock.now
    from fact, head, clock group by head.sequence, head.previous_hash, clock.now
  ), journal as (
    insert into journal_fact (lane, sequence, position, kind, subscription_id, payment_id, attempt_id, provider,
      merchant_account, provider_payment_id, amount_minor, currency_code, period_start, period_end, occurred_at)
    select $2::int, head.sequence, position, 'CHARGED', id, payment_id, attempt_id, 'bench', 'bench', 'pay_' || attempt_id,
      amount_minor, currency_code, period_start, period_end, clock.now
    from fact, head, clock
  )
  insert into outbox_message (event_id, user_id, version, rights_version, kind, reason, grants, traceparent, occurred_at)
  select uuidv7(), user_id, version, rights_version, 'EXTENDED', 'PAYMENT_SUCCEEDED', grants, '', (select now from clock)
  from rights`;

/** One connection's loop, with a lane of the journal for itself, until nothing is due. */
async function renewAll(client: Client, lane: number): Promise<void> {
  for (;;) {
    await client.query('begin');
    const { rows } = await client.query<{ ids: string | null }>({ name: 'claim', text: claim });
    await client.query('commit');
    if (rows[0]!.ids === null) return;
    await client.query('begin');
    await client.query({ name: 'settle', text: settle, values: [rows[0]!.ids, lane] });
    await client.query('commit');
  }
}

async function main({ databaseUrl }: SideInput): Promise<SideAnswer> {
  const clients = Array.from({ length: connections }, () => new Client({ connectionString: databaseUrl }));
  await Promise.all(clients.map((client) => client.connect()));
  const cpu = process.cpuUsage();
  const startedAt = performance.now();
  await Promise.all(clients.map((client, index) => renewAll(client, index + 1)));
  const elapsedMs = performance.now() - startedAt;
  const { user, system } = process.cpuUsage(cpu);
  await Promise.all(clients.map((client) => client.end()));
  return { elapsedMs, cpuUs: user + system };
}

process.stdout.write(JSON.stringify(await main(JSON.parse(process.argv[2]!) as SideInput)));
