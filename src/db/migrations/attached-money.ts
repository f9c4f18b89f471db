import { Migration } from '@mikro-orm/migrations';

/** Money that came without a call of ours, and that an operator has attached to a payment. */
export class AttachedMoney extends Migration {
  override up(): void {
    this.addSql(`
      alter table payment_attempt
        drop constraint payment_attempt_kind_check,
        add check (kind in ('checkout', 'charge', 'attached')),
        -- They are numbered apart: how often we may try says nothing of what others did.
        drop constraint payment_attempt_attempt_number_check,
        add check (attempt_number >= 1 and (attempt_number <= 15) = (kind <> 'attached'));
      create index webhook_event_orphan on webhook_event (provider, provider_payment_id) where state = 'ORPHAN';
    `);
  }
}
