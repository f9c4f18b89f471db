import { Migration } from '@mikro-orm/migrations';

/** Up to when the disputes of each merchant account were listed, should a notice be lost; and those that are not ours. */
export class DisputeLooks extends Migration {
  override up(): void {
    this.addSql(`
      create table dispute_look (
        provider text not null,
        merchant_account text not null,
        looked_until timestamptz(3) not null,
        next_look_at timestamptz(3) not null,
        lease_until timestamptz(3),
        primary key (provider, merchant_account)
      );

      create table foreign_dispute (
        provider text not null,
        merchant_account text not null,
        provider_dispute_id text not null,
        found_at timestamptz(3) not null,
        primary key (provider, merchant_account, provider_dispute_id)
      );
    `);
  }
}
