import { Migration } from '@mikro-orm/migrations';

/** Receipts (54-FZ): what each is about is frozen before the call that asks for it. And consents. Contacts and addresses can be erased. */
export class Receipts extends Migration {
  override up(): void {
    this.addSql(`
      create table customer_contact (
        user_id uuid primary key references customer,
        email text not null check (length(email) between 3 and 254),
        updated_at timestamptz(3) not null
      );

      create table receipt (
        id uuid primary key,
        attempt_id uuid not null references payment_attempt,
        refund_id uuid references refund,
        contact text,
        line_text text not null,
        vat_code integer not null,
        payment_subject text not null,
        payment_mode text not null,
        state text not null check (state in ('PENDING', 'ISSUED', 'FAILED', 'VOID')),
        fiscal_document text not null default '',
        checks integer not null default 0,
        next_check_at timestamptz(3),
        created_at timestamptz(3) not null,
        settled_at timestamptz(3),
        constraint receipt_open check (
          (state = 'PENDING') = (next_check_at is not null) and (state = 'PENDING') = (settled_at is null))
      );
      create unique index one_receipt_of_charge on receipt (attempt_id) where refund_id is null;
      create unique index one_receipt_of_refund on receipt (refund_id) where refund_id is not null;
      create index receipt_due on receipt (next_check_at, id) where next_check_at is not null;

      create table payment_consent (
        attempt_id uuid primary key references payment_attempt,
        payment_method_id uuid references payment_method,
        text_version text not null,
        ip_address text,
        agreed_at timestamptz(3) not null
      );
      -- The address it came from stays apart, where it can be erased.
      alter table payment_method add column consent_version text, add column consented_at timestamptz(3);
      create index payment_consent_of_method on payment_consent (payment_method_id) where payment_method_id is not null;
    `);
  }
}
