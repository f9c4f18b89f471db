import { Migration } from '@mikro-orm/migrations';

/** How far the charges to come have been announced: everything due up to this place. One row for the service. */
export class ChargeAnnouncements extends Migration {
  override up(): void {
    this.addSql(`
      create table charge_announcement (
        single boolean primary key default true check (single),
        due_at timestamptz(3) not null,
        subscription_id uuid not null
      );
    `);
  }
}
