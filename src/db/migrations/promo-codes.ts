import { Migration } from '@mikro-orm/migrations';

/** Discounts: what takes something off, who has it, and the lines that it leaves on payments. */
export class PromoCodes extends Migration {
  override up(): void {
    this.addSql(`
      create table promo_code (
        id uuid primary key,
        code text not null unique check (code ~ '^[A-Z0-9][A-Z0-9_-]{2,31}$'),
        percent_off integer check (percent_off between 1 and 99),
        amount_off_minor bigint check (amount_off_minor > 0),
        currency_code text check (currency_code ~ '^[A-Z]{3}$'),
        cycles integer not null check (cycles between 1 and 120),
        plan_id uuid references plan on delete cascade,
        redemptions_max integer check (redemptions_max > 0),
        ends_at timestamptz(3),
        created_at timestamptz(3) not null,
        constraint promo_code_takes_off check (
          (percent_off is null) <> (amount_off_minor is null) and (amount_off_minor is null) = (currency_code is null))
      );
      create index promo_code_newest on promo_code (created_at, id);
      create index promo_code_of_plan on promo_code (plan_id) where plan_id is not null;

      create table promo_redemption (
        subscription_id uuid primary key references subscription,
        promo_code_id uuid not null references promo_code,
        user_id uuid not null references customer,
        redeemed_at timestamptz(3) not null
      );
      create index promo_redemption_of_code on promo_redemption (promo_code_id, user_id);

      -- What makes a payment another amount than its price. Lines are only ever added, with their payment.
      create table payment_adjustment (
        id uuid primary key,
        payment_id uuid not null references payment,
        promo_code_id uuid not null references promo_code,
        amount_minor bigint not null check (amount_minor < 0),
        description text not null,
        created_at timestamptz(3) not null,
        constraint payment_adjustment_once unique (payment_id, promo_code_id)
      );
      create trigger adjustment_is_append_only before update or delete on payment_adjustment
        for each row execute function refuse_change();
    `);
  }
}
