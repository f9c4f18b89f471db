import { Migration } from '@mikro-orm/migrations';

/** What operators need: states of a plan that can be told apart, changes of features on their way, the audit log. */
export class Operators extends Migration {
  override up(): void {
    this.addSql(`
      alter table plan add column revision integer not null default 1 check (revision > 0);

      -- One row per plan whose subscribers do not all have its present features yet; the job's place is in it.
      create table feature_rollout (
        plan_id uuid primary key references plan on delete cascade,
        after_subscription_id uuid,
        pass_started_at timestamptz(3) not null,
        next_batch_at timestamptz(3) not null,
        last_pass_from timestamptz(3) not null
      );
      create index subscription_of_plan on subscription (plan_id, id) include (price_id, ended_at);

      create table audit_entry (
        id uuid primary key,
        actor_id text not null,
        actor_role text not null check (actor_role in ('read_only', 'support', 'admin')),
        action text not null check (action ~ '^[A-Z][A-Za-z]+$'),
        target_kind text not null,
        target_id text not null,
        user_id uuid,
        reason text not null,
        before jsonb,
        after jsonb,
        occurred_at timestamptz(3) not null
      );
      create index audit_entry_of_target on audit_entry (target_id, id);
      create index audit_entry_of_user on audit_entry (user_id, id) where user_id is not null;
      create index audit_entry_of_actor on audit_entry (actor_id, id);
      -- ALWAYS: a session that plays a replica skips ordinary triggers.
      create trigger audit_is_append_only before update or delete or truncate on audit_entry
        for each statement execute function refuse_change();
      alter table audit_entry enable always trigger audit_is_append_only;

      -- The one search, and the registry's order.
      create index customer_by_age on customer (created_at, user_id);
      create index payment_attempt_by_provider_id on payment_attempt (provider_payment_id)
        where provider_payment_id is not null;
      create index payment_method_by_last4 on payment_method (last4);
      create index webhook_event_by_age on webhook_event (received_at, provider_event_id);
    `);
  }
}
