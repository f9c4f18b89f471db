import { Migration } from '@mikro-orm/migrations';

/** What viewers should be told, on its way to whoever tells them. */
export class CustomerNotices extends Migration {
  override up(): void {
    this.addSql(`
      create table customer_notice (
        event_id uuid primary key,
        user_id uuid not null,
        subscription_id uuid not null,
        kind text not null,
        body jsonb not null,
        occurred_at timestamptz(3) not null,
        created_at timestamptz(3) not null default clock_timestamp(),
        published_at timestamptz(3)
      );
      create index customer_notice_unpublished on customer_notice (event_id) where published_at is null;
      create index customer_notice_of_user on customer_notice (user_id);
    `);
  }
}
