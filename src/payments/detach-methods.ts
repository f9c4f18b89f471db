import { sql } from 'kysely';
import { businessNow } from '../db/clock.ts';
import { inTransaction } from '../db/orm.ts';
import { mapBounded } from './call-provider.ts';
import { providerOf, type PaymentsContext } from './providers.ts';

const batchMax = 100;
const concurrencyMax = 8;
const retryMinutes = 60;

interface MethodRow {
  id: string;
  provider: string;
  merchant_account: string;
  provider_customer_id: string;
  provider_method_id: string;
}

/**
 * Tells providers of methods that were removed here, again every hour until they know. We charge them no more either
 * way; this keeps anybody else from it. Of an erased method (admin/erase-customer.ts), which has no brand, the provider's
 * ids are erased then, too. Gives how many were due.
 */
export async function detachMethods(ctx: PaymentsContext): Promise<number> {
  const methods = await claimDetached(ctx);
  await mapBounded(methods, concurrencyMax, async (method) => {
    const { provider_customer_id: providerCustomerId, provider_method_id: providerMethodId } = method;
    const owner = { provider: method.provider, merchantAccount: method.merchant_account };
    try {
      await providerOf(ctx, owner).detachMethod({ providerCustomerId, providerMethodId });
      await inTransaction(ctx.em, (tx) =>
        sql`
          update payment_method set next_detach_at = null,
            provider_customer_id = case when brand = '' then '' else provider_customer_id end,
            provider_method_id = case when brand = '' then id::text else provider_method_id end
          where id = ${method.id}
        `.execute(tx.getKysely()),
      );
    } catch (error) {
      ctx.log.warn({ err: error, method: method.id, provider: method.provider }, 'method is not detached yet');
    }
  });
  return methods.length;
}

async function claimDetached(ctx: PaymentsContext): Promise<MethodRow[]> {
  return inTransaction(ctx.em, async (tx) => {
    const now = await businessNow(tx);
    const { rows } = await sql<MethodRow>`
      update payment_method set next_detach_at = ${now.add({ minutes: retryMinutes }).toString()}
      where id in (select id from payment_method where next_detach_at <= ${now.toString()}
        order by next_detach_at, id limit ${batchMax} for update skip locked)
      returning id, provider, merchant_account, provider_customer_id, provider_method_id
    `.execute(tx.getKysely());
    return rows;
  });
}
