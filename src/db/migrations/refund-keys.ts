import { Migration } from '@mikro-orm/migrations';

/** Since when a refund's key is in use, and since when the provider does not know of it. */
export class RefundKeys extends Migration {
  override up(): void {
    this.addSql(`
      alter table refund add column key_sent_at timestamptz(3), add column absent_since timestamptz(3);
      -- What was sent before this was written down may have been sent as early as it was claimed.
      update refund set key_sent_at = created_at where state = 'PENDING' and tries > 0;
    `);
  }
}
