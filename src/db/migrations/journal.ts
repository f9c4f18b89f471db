import { Migration } from '@mikro-orm/migrations';

/** Every money fact, append-only, hash-chained in batches (src/ledger/README.md). */
export class Journal extends Migration {
  override up(): void {
    this.addSql(`
      create table journal_batch (
        lane integer not null check (lane > 0),
        sequence bigint not null check (sequence > 0),
        previous_hash bytea not null check (length(previous_hash) = 32),
        hash bytea not null check (length(hash) = 32),
        fact_count integer not null check (fact_count > 0),
        recorded_at timestamptz(3) not null,
        primary key (lane, sequence)
      );
      -- No foreign key to the batch: it would be checked row by row in the engine's hot path; verifyLedger does it.
      create table journal_fact (
        lane integer not null,
        sequence bigint not null,
        position integer not null,
        kind text not null,
        subscription_id uuid not null,
        payment_id uuid,
        attempt_id uuid,
        refund_id uuid,
        provider text,
        merchant_account text,
        provider_payment_id text,
        provider_refund_id text,
        amount_minor bigint,
        currency_code text,
        period_start timestamptz(3),
        period_end timestamptz(3),
        occurred_at timestamptz(3) not null,
        primary key (lane, sequence, position),
        constraint journal_fact_money check (
          case when kind in ('CHARGED', 'REFUNDED')
            then num_nulls(payment_id, attempt_id, provider, merchant_account, provider_payment_id, amount_minor,
              currency_code) = 0 and amount_minor >= 0
            else kind in ('FORGIVEN', 'EXTENDED')
              and num_nonnulls(payment_id, attempt_id, provider, merchant_account, provider_payment_id, amount_minor,
                currency_code) = 0 and period_start is not null end),
        constraint journal_fact_refund check ((kind = 'REFUNDED') = (num_nulls(refund_id, provider_refund_id) = 0)),
        constraint journal_fact_period check (
          num_nonnulls(period_start, period_end) in (0, 2) and (period_start is null or period_start < period_end))
      );
      create index journal_fact_of_attempt on journal_fact (attempt_id) where attempt_id is not null;
      create index journal_fact_time on journal_fact using brin (occurred_at);

      -- ALWAYS: a session that plays a replica skips ordinary triggers.
      create trigger journal_batch_is_append_only before update or delete or truncate on journal_batch
        for each statement execute function refuse_change();
      create trigger journal_fact_is_append_only before update or delete or truncate on journal_fact
        for each statement execute function refuse_change();
      alter table journal_batch enable always trigger journal_batch_is_append_only;
      alter table journal_fact enable always trigger journal_fact_is_append_only;
    `);
  }
}
