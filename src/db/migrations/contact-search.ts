import { Migration } from '@mikro-orm/migrations';

/** Operators search by e-mail. Not unique: a family may share an address. */
export class ContactSearch extends Migration {
  override up(): void {
    this.addSql(`create index customer_contact_by_email on customer_contact (lower(email))`);
  }
}
