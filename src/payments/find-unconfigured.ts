import { sql } from 'kysely';
import type { EntityManager } from '../db/orm.ts';
import { findProviderOf, type PaymentsContext, type ProviderKey } from './providers.ts';

/**
 * Payment systems and accounts that methods were saved at and that are not configured (any more). From one to the next
 * by the index, so that a start does not read every method.
 */
export async function findUnconfigured(
  em: EntityManager,
  providers: PaymentsContext['providers'],
): Promise<ProviderKey[]> {
  const { rows } = await sql<{ provider: string; merchant_account: string }>`
    with recursive owner as (
      (select provider, merchant_account from payment_method order by 1, 2 limit 1)
      union all
      select following.* from owner, lateral (
        select m.provider, m.merchant_account from payment_method m
        where (m.provider, m.merchant_account) > (owner.provider, owner.merchant_account) order by 1, 2 limit 1
      ) following
    )
    select * from owner
  `.execute(em.fork().getKysely());
  return rows
    .map((row) => ({ provider: row.provider, merchantAccount: row.merchant_account }))
    .filter((key) => !findProviderOf({ providers }, key));
}
