import { Migration } from '@mikro-orm/migrations';

/** Another plan: at once, for a payment of its own, or from the end of the period on. */
export class PlanChanges extends Migration {
  override up(): void {
    this.addSql(`
      alter table subscription add column scheduled_price_id uuid references price;

      alter table payment
        add column price_id uuid references price,
        add column credit_minor bigint not null default 0 check (credit_minor >= 0),
        add column credited_payment_id uuid references payment,
        add column expires_at timestamptz(3),
        drop constraint payment_purpose_check,
        add check (purpose ~ '^(initial|cycle:[0-9]+|(setup|change):[0-9a-f-]{36})$'),
        add constraint payment_of_change check (case when purpose like 'change:%'
          then num_nulls(price_id, period_start, period_end, expires_at) = 0
          else num_nonnulls(price_id, credited_payment_id, expires_at) = 0 and credit_minor = 0 end);
      create index payment_expiry on payment (expires_at) where status = 'PENDING' and expires_at is not null;
    `);
  }
}
