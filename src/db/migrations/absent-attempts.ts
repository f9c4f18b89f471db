import { Migration } from '@mikro-orm/migrations';

/** Remembers the first look-up that did not find a payment: only a second one, later, proves that it never was. */
export class AbsentAttempts extends Migration {
  override up(): void {
    this.addSql(`
      alter table payment_attempt add column absent_since timestamptz(3);
      -- A provider that took the money twice for one attempt gives it back twice: once per payment of its own.
      drop index one_surplus_refund;
      create unique index one_surplus_refund on refund (attempt_id, provider_payment_id) where reason = 'SURPLUS';
    `);
  }
}
