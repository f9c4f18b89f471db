import { Migration } from '@mikro-orm/migrations';

/** What the whole life of a subscription needs: trials, gifts, other and removed payment methods, refunds on request. */
export class WholeLife extends Migration {
  override up(): void {
    this.addSql(`
      alter table plan
        add column trial_days integer not null default 0 check (trial_days between 0 and 365),
        add column refund_policy text not null default 'none' check (refund_policy in ('none', 'prorated'));

      -- A trial is the time before cycle 0.
      alter table subscription drop constraint subscription_cycle_check, add check (cycle >= -1),
        add column complimentary boolean not null default false;

      alter table payment_method
        add column detached_at timestamptz(3),
        add column next_detach_at timestamptz(3),
        add constraint payment_method_detach check (next_detach_at is null or detached_at is not null);
      create index payment_method_detach_due on payment_method (next_detach_at) where next_detach_at is not null;

      alter table payment drop constraint payment_purpose_check,
        add check (purpose ~ '^(initial|cycle:[0-9]+|setup:[0-9a-f-]{36})$');

      alter table refund drop constraint refund_reason_check,
        add check (reason in ('SURPLUS', 'CANCELED', 'REQUESTED'));
      create index refund_of_attempt on refund (attempt_id);

      -- Who had a trial of a product line already: keyed hashes of the viewer and of the instrument, no names in it.
      create table trial_use (
        product_line text not null,
        key_hash text not null,
        subscription_id uuid not null,
        used_at timestamptz(3) not null,
        primary key (product_line, key_hash)
      );
    `);
  }
}
