import { sql } from 'kysely';
import type { EntityManager } from '../db/orm.ts';
import { newId } from '../lib/ids.ts';
import type { AttemptRow } from './attempt-rows.ts';
import { giveConsentToMethod } from './keep-consent.ts';
import type { SavedMethod } from './provider.ts';

/** Stores the link between a customer and a provider's saved method, once, with the consent of its page; gives its id. */
export async function saveMethod(
  tx: EntityManager,
  owner: Pick<AttemptRow, 'id' | 'userId' | 'provider' | 'merchantAccount'>,
  method: SavedMethod,
  now: Temporal.Instant,
): Promise<string> {
  const { rows } = await sql<{ id: string }>`
    insert into payment_method (id, user_id, provider, merchant_account, provider_customer_id, provider_method_id,
      brand, last4, expiry_month, expiry_year, created_at)
    values (${newId()}, ${owner.userId}, ${owner.provider}, ${owner.merchantAccount}, ${method.providerCustomerId},
      ${method.providerMethodId}, ${method.brand}, ${method.last4}, ${method.expiryMonth}, ${method.expiryYear},
      ${now.toString()})
    on conflict on constraint payment_method_of_provider do update set expiry_month = excluded.expiry_month,
      expiry_year = excluded.expiry_year
    returning id
  `.execute(tx.getKysely());
  await giveConsentToMethod(tx, owner.id, rows[0]!.id);
  return rows[0]!.id;
}
