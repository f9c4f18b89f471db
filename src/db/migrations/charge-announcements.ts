import { Migration } from '@mikro-orm/migrations';

/** How far charges were announced, and whether anybody looked for due ones. One row each for the service. */
export class ChargeAnnouncements extends Migration {
  override up(): void {
    this.addSql(`
      -- Everything due up to this place was announced.
      create table charge_announcement (
        single boolean primary key default true check (single),
        due_at timestamptz(3) not null,
        subscription_id uuid not null
      );

      create table renewal_watch (
        single boolean primary key default true check (single),
        -- Somebody looked for due charges then, or a little later; real time.
        seen_at timestamptz(3) not null,
        -- What was due by then and not charged was due while nobody looked for more than a week.
        late_until timestamptz(3) not null
      );
    `);
  }
}
