import { Migration } from '@mikro-orm/migrations';

/** A notice that is being worked off at this moment is work under way: AdvanceClock waits for it. */
export class NoticeLeases extends Migration {
  override up(): void {
    this.addSql(`alter table webhook_event add column lease_until timestamptz(3)`);
  }
}
