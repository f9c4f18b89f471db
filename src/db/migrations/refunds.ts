import { Migration } from '@mikro-orm/migrations';

/** Money that goes back: claimed, called and settled like a charge. */
export class Refunds extends Migration {
  override up(): void {
    this.addSql(`
      create table refund (
        id uuid primary key,
        attempt_id uuid not null references payment_attempt,
        reason text not null check (reason in ('SURPLUS')),
        provider text not null,
        merchant_account text not null,
        provider_payment_id text not null,
        amount_minor bigint not null check (amount_minor > 0),
        currency_code text not null check (currency_code ~ '^[A-Z]{3}$'),
        idempotency_key text not null unique,
        state text not null check (state in ('PENDING', 'SUCCEEDED', 'FAILED')),
        provider_refund_id text,
        note text not null default '',
        tries integer not null default 0,
        next_try_at timestamptz(3),
        lease_until timestamptz(3) not null,
        created_at timestamptz(3) not null,
        settled_at timestamptz(3),
        constraint refund_open check ((state = 'PENDING') = (next_try_at is not null)),
        constraint refund_settled check ((state = 'PENDING') = (settled_at is null)),
        constraint refund_of_provider unique (provider, merchant_account, provider_refund_id)
      );
      -- Surplus money goes back once, whoever notices it and however often.
      create unique index one_surplus_refund on refund (attempt_id) where reason = 'SURPLUS';
      create index refund_due on refund (next_try_at, id) where next_try_at is not null;
    `);
  }
}
