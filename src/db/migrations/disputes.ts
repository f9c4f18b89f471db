import { Migration } from '@mikro-orm/migrations';

/** Cardholders' disputes, and what they keep from being renewed and refunded. */
export class Disputes extends Migration {
  override up(): void {
    this.addSql(`
      create table dispute (
        id uuid primary key,
        attempt_id uuid not null references payment_attempt,
        provider text not null,
        merchant_account text not null,
        provider_dispute_id text not null,
        amount_minor bigint not null check (amount_minor > 0),
        currency_code text not null check (currency_code ~ '^[A-Z]{3}$'),
        reason text not null,
        state text not null check (state in ('OPEN', 'LOST', 'REINSTATED')),
        next_check_at timestamptz(3),
        opened_at timestamptz(3) not null,
        closed_at timestamptz(3),
        constraint dispute_of_provider unique (provider, merchant_account, provider_dispute_id),
        constraint dispute_open check (
          (state = 'OPEN') = (closed_at is null) and (state = 'OPEN') = (next_check_at is not null))
      );
      create index dispute_of_attempt on dispute (attempt_id);
      create index dispute_due on dispute (next_check_at, id) where next_check_at is not null;

      alter table subscription add column renewal_blocked boolean not null default false,
        add constraint subscription_blocked check (not renewal_blocked or next_charge_at is null);
      alter table webhook_event add column provider_dispute_id text;

      -- A fact of a dispute has the dispute's ids where one of a refund has the refund's.
      alter table journal_fact drop constraint journal_fact_money, drop constraint journal_fact_refund,
        add constraint journal_fact_money check (
          case when kind in ('CHARGED', 'REFUNDED', 'DISPUTED', 'REINSTATED')
            then num_nulls(payment_id, attempt_id, provider, merchant_account, provider_payment_id, amount_minor,
              currency_code) = 0 and amount_minor >= 0
            else kind in ('FORGIVEN', 'EXTENDED')
              and num_nonnulls(payment_id, attempt_id, provider, merchant_account, provider_payment_id, amount_minor,
                currency_code) = 0 and period_start is not null end),
        add constraint journal_fact_refund check (
          (kind in ('REFUNDED', 'DISPUTED', 'REINSTATED')) = (num_nulls(refund_id, provider_refund_id) = 0));
    `);
  }
}
