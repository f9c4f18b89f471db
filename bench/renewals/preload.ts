import { withClient } from '../postgres-server.ts';

/** Everything is due on 15 February 2027 between 09:00 and 10:00; the clock stands two weeks later. */
const statements = [
  `insert into sandbox_clock (set_to, set_at, running) values ('2027-03-01T09:00:00Z', clock_timestamp(), false)`,
  `insert into plan (id, code, name, description, features, product_line, created_at)
     values (uuidv7(), 'standard', 'Standard', '', '{catalog.base,video.uhd}', 'cinema', '2027-01-01')`,
  `insert into price (id, plan_id, currency_code, amount_minor, interval_unit, interval_count, created_at)
     select uuidv7(), id, 'RUB', 59900, 'month', 1, '2027-01-01' from plan`,
  `create temp table viewer as
     select n, uuidv7() as user_id, uuidv7() as method_id, uuidv7() as subscription_id, uuidv7() as payment_id,
       uuidv7() as attempt_id, timestamptz '2027-01-15T09:00:00Z' + n * interval '1 hour' / $1::int as at
     from generate_series(1, $1::int) n`,
  `insert into customer (user_id, created_at) select user_id, at from viewer`,
  `insert into payment_method (id, user_id, provider, merchant_account, provider_customer_id, provider_method_id, brand,
     last4, expiry_month, expiry_year, created_at)
   select method_id, user_id, 'bench', 'bench', 'cus_' || n, 'pm_' || n, 'visa', '4242', 12, 2049, at from viewer`,
  `insert into payment (id, subscription_id, user_id, purpose, amount_minor, currency_code, status, created_at, settled_at)
   select payment_id, subscription_id, user_id, 'initial', 59900, 'RUB', 'SUCCEEDED', at, at from viewer`,
  `insert into payment_attempt (id, payment_id, subscription_id, attempt_number, kind, idempotency_key, provider,
     merchant_account, amount_minor, currency_code, description, state, provider_payment_id, lease_until, created_at,
     settled_at)
   select attempt_id, payment_id, subscription_id, 1, 'checkout', payment_id || ':1', 'bench', 'bench', 59900, 'RUB',
     'Standard', 'SUCCEEDED', 'pay_' || n, at, at, at from viewer`,
  `insert into subscription (id, user_id, plan_id, price_id, product_line, status, billing_time_zone, anchor_at,
     current_period_start, current_period_end, payment_method_id, next_charge_at, created_at)
   select subscription_id, user_id, plan.id, price.id, 'cinema', 'ACTIVE', 'UTC', at, at, at + interval '1 month',
     method_id, at + interval '1 month', at from viewer, plan, price`,
  `insert into subscription_event (id, subscription_id, user_id, kind, actor_kind, actor_id, reason, before, after,
     occurred_at)
   select uuidv7(), subscription_id, user_id, 'ACTIVATED', 'provider', 'bench', 'PAYMENT_SUCCEEDED', '{}', '{}', at
   from viewer`,
  `insert into entitlement (user_id, version, rights_version, grants, updated_at)
   select user_id, 1, 1, jsonb_build_array(jsonb_build_object('product_line', 'cinema', 'subscription_id',
     subscription_id, 'plan_code', 'standard', 'features', array['catalog.base', 'video.uhd'], 'access_until',
     to_char(at + interval '1 month 72 hours', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), 'in_grace', false)), at from viewer`,
  `insert into outbox_message (event_id, user_id, version, rights_version, kind, reason, grants, occurred_at,
     published_at, stream_sequence)
   select uuidv7(), user_id, 1, 1, 'GRANTED', 'PAYMENT_SUCCEEDED', grants, updated_at, updated_at,
     row_number() over () from entitlement`,
  'drop table viewer',
  'vacuum (analyze, freeze)',
];

/** Fills a migrated database with subscriptions that have paid once and are all due. */
export async function preload(url: string, count: number): Promise<void> {
  await withClient(url, async (client) => {
    for (const statement of statements) await client.query(statement, statement.includes('$1') ? [count] : []);
  });
}
