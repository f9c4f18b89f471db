import { Migration } from '@mikro-orm/migrations';

const tables = `
  create table plan (
    id uuid primary key,
    code text not null unique check (code ~ '^[a-z][a-z0-9_-]{0,63}$'),
    name text not null,
    description text not null,
    features text[] not null,
    product_line text not null,
    archived_at timestamptz(3),
    created_at timestamptz(3) not null
  );

  create table price (
    id uuid primary key,
    plan_id uuid not null references plan,
    currency_code text not null check (currency_code ~ '^[A-Z]{3}$'),
    amount_minor bigint not null check (amount_minor >= 0),
    interval_unit text not null check (interval_unit in ('day', 'week', 'month', 'year')),
    interval_count integer not null check (interval_count between 1 and 366),
    created_at timestamptz(3) not null
  );
  create index price_of_plan on price (plan_id);

  create table customer (
    user_id uuid primary key,
    created_at timestamptz(3) not null
  );

  create table payment_method (
    id uuid primary key,
    user_id uuid not null references customer,
    provider text not null,
    merchant_account text not null,
    provider_customer_id text not null,
    provider_method_id text not null,
    brand text not null,
    last4 text not null check (last4 ~ '^[0-9]{4}$'),
    expiry_month integer not null check (expiry_month between 1 and 12),
    expiry_year integer not null check (expiry_year between 2000 and 2100),
    created_at timestamptz(3) not null,
    constraint payment_method_of_provider unique (provider, merchant_account, provider_method_id)
  );
  create index payment_method_of_user on payment_method (user_id);

  create table subscription (
    id uuid primary key,
    user_id uuid not null references customer,
    plan_id uuid not null references plan,
    price_id uuid not null references price,
    product_line text not null,
    status text not null
      check (status in ('INCOMPLETE', 'INCOMPLETE_EXPIRED', 'TRIALING', 'ACTIVE', 'PAST_DUE', 'CANCELED')),
    billing_time_zone text not null,
    anchor_at timestamptz(3),
    anchor_cycle integer not null default 0 check (anchor_cycle >= 0),
    cycle integer not null default 0 check (cycle >= 0),
    current_period_start timestamptz(3),
    current_period_end timestamptz(3),
    payment_method_id uuid references payment_method,
    open_payment_id uuid,
    cancel_at_period_end boolean not null default false,
    grace_until timestamptz(3),
    dunning_ends_at timestamptz(3),
    next_charge_at timestamptz(3),
    next_transition_at timestamptz(3),
    canceled_at timestamptz(3),
    ended_at timestamptz(3),
    created_at timestamptz(3) not null,
    constraint subscription_period check (
      (current_period_start is null and current_period_end is null and anchor_at is null
        and status in ('INCOMPLETE', 'INCOMPLETE_EXPIRED'))
      or (current_period_start < current_period_end and anchor_at is not null)),
    constraint subscription_has_next_action check (
      (status in ('INCOMPLETE_EXPIRED', 'CANCELED'))
        = (next_charge_at is null and next_transition_at is null and open_payment_id is null)),
    constraint subscription_ended check (
      (status in ('INCOMPLETE_EXPIRED', 'CANCELED')) = (ended_at is not null)),
    constraint subscription_dunning check (
      (status = 'PAST_DUE') = (dunning_ends_at is not null)
      and (grace_until is null or status = 'PAST_DUE'))
  );
  create unique index one_open_subscription on subscription (user_id, product_line)
    where status in ('INCOMPLETE', 'TRIALING', 'ACTIVE', 'PAST_DUE');
  create index subscription_due on subscription (next_charge_at, id)
    where next_charge_at is not null and open_payment_id is null;
  create index subscription_transition on subscription (next_transition_at, id)
    where next_transition_at is not null;
  create index subscription_of_user on subscription (user_id, created_at, id);

  create table subscription_event (
    id uuid primary key,
    subscription_id uuid not null,
    user_id uuid not null,
    kind text not null,
    actor_kind text not null,
    actor_id text not null,
    reason text not null,
    before jsonb,
    after jsonb not null,
    occurred_at timestamptz(3) not null
  );
  create index subscription_event_of_subscription on subscription_event (subscription_id, occurred_at, id);

  create table payment (
    id uuid primary key,
    subscription_id uuid not null,
    user_id uuid not null,
    purpose text not null check (purpose ~ '^(initial|cycle:[0-9]+)$'),
    amount_minor bigint not null check (amount_minor >= 0),
    currency_code text not null check (currency_code ~ '^[A-Z]{3}$'),
    period_start timestamptz(3),
    period_end timestamptz(3),
    status text not null check (status in ('PENDING', 'SUCCEEDED', 'VOID')),
    created_at timestamptz(3) not null,
    settled_at timestamptz(3),
    constraint payment_once_per_purpose unique (subscription_id, purpose),
    constraint payment_period check (period_start < period_end),
    constraint payment_settled check ((status = 'PENDING') = (settled_at is null))
  );

  create table payment_attempt (
    id uuid primary key,
    payment_id uuid not null references payment,
    subscription_id uuid not null,
    attempt_number integer not null check (attempt_number between 1 and 15),
    kind text not null check (kind in ('checkout', 'charge')),
    idempotency_key text not null unique,
    provider text not null,
    merchant_account text not null,
    payment_method_id uuid references payment_method,
    amount_minor bigint not null check (amount_minor >= 0),
    currency_code text not null,
    description text not null,
    return_url text not null default '',
    state text not null check (state in ('PENDING', 'SENT', 'WAITING', 'UNKNOWN', 'PARKED', 'SUCCEEDED', 'DECLINED', 'DEAD')),
    provider_payment_id text,
    checkout_url text,
    checkout_expires_at timestamptz(3),
    decline_code text,
    decline_hard boolean,
    surplus boolean not null default false,
    lease_until timestamptz(3) not null,
    next_check_at timestamptz(3),
    checks integer not null default 0,
    created_at timestamptz(3) not null,
    settled_at timestamptz(3),
    constraint payment_attempt_number unique (payment_id, attempt_number),
    constraint payment_attempt_of_provider unique (provider, merchant_account, provider_payment_id),
    constraint payment_attempt_method check ((kind = 'charge') = (payment_method_id is not null)),
    constraint payment_attempt_open check (
      (state in ('PENDING', 'SENT', 'WAITING', 'UNKNOWN')) = (next_check_at is not null)),
    constraint payment_attempt_settled check (
      (state in ('SUCCEEDED', 'DECLINED', 'DEAD')) = (settled_at is not null))
  );
  -- One live attempt per payment: the guard against a double charge that no lock and no lease can lose.
  create unique index one_live_attempt on payment_attempt (payment_id)
    where state in ('PENDING', 'SENT', 'WAITING', 'UNKNOWN', 'PARKED', 'SUCCEEDED') and not surplus;
  create index payment_attempt_of_subscription on payment_attempt (subscription_id)
    where state in ('PENDING', 'SENT', 'WAITING', 'UNKNOWN', 'PARKED');
  create index payment_attempt_check on payment_attempt (next_check_at, id) where next_check_at is not null;

  create table webhook_event (
    provider text not null,
    provider_event_id text not null,
    type text not null,
    payload bytea not null,
    provider_payment_id text,
    reference text,
    state text not null check (state in ('RECEIVED', 'PROCESSED', 'IGNORED', 'QUARANTINED', 'ORPHAN')),
    tries integer not null default 0,
    next_try_at timestamptz(3),
    note text not null default '',
    received_at timestamptz(3) not null,
    processed_at timestamptz(3),
    primary key (provider, provider_event_id),
    constraint webhook_event_open check ((state = 'RECEIVED') = (next_try_at is not null))
  );
  create index webhook_event_due on webhook_event (next_try_at) where next_try_at is not null;

  create table entitlement (
    user_id uuid primary key,
    version bigint not null check (version > 0),
    rights_version bigint not null check (rights_version between 1 and version),
    grants jsonb not null check (jsonb_typeof(grants) = 'array'),
    updated_at timestamptz(3) not null
  );

  create table outbox_message (
    event_id uuid primary key,
    user_id uuid not null,
    version bigint not null check (version > 0),
    rights_version bigint not null,
    kind text not null,
    reason text not null,
    grants jsonb not null,
    traceparent text not null default '',
    occurred_at timestamptz(3) not null,
    created_at timestamptz(3) not null default clock_timestamp(),
    published_at timestamptz(3),
    stream_sequence bigint,
    constraint outbox_message_version unique (user_id, version),
    constraint outbox_message_published check ((published_at is null) = (stream_sequence is null))
  );
  create index outbox_message_unpublished on outbox_message (user_id, version) where published_at is null;

  create table idempotent_request (
    caller text not null,
    method text not null,
    request_id uuid not null,
    request_hash text not null,
    response text,
    lease_until timestamptz(3) not null,
    created_at timestamptz(3) not null default clock_timestamp(),
    primary key (caller, method, request_id)
  );

  -- The business clock of the sandbox; without a row, business time is the database server's time.
  create table sandbox_clock (
    single boolean primary key default true check (single),
    set_to timestamptz(3) not null,
    set_at timestamptz(3) not null,
    running boolean not null
  );
`;

// Money facts and history are only ever added, and a price never changes: existing subscribers keep theirs.
const guards = `
  create function refuse_change() returns trigger language plpgsql as $$
  begin
    raise exception '% rows never change', tg_table_name using errcode = 'restrict_violation';
  end $$;
  create trigger price_is_immutable before update on price
    for each row execute function refuse_change();
  create trigger history_is_append_only before update or delete on subscription_event
    for each row execute function refuse_change();

  -- Business time: the database server's clock, or in the sandbox a stored one that only moves forward.
  create function business_now() returns timestamptz language sql volatile as $$
    select date_trunc('milliseconds', coalesce(
      (select case when running then set_to + (clock_timestamp() - set_at) else set_to end from sandbox_clock),
      clock_timestamp()))
  $$;
`;

/** The first schema: all that row M10 of the mission stores. */
export class Initial extends Migration {
  override up(): void {
    this.addSql(tables);
    this.addSql(guards);
  }
}
