import { sql } from 'kysely';
import { businessNow } from '../db/clock.ts';
import { inTransaction } from '../db/orm.ts';
import { mapBounded } from '../payments/call-provider.ts';
import { providerOf, type PaymentsContext } from '../payments/providers.ts';
import { nextDisputeCheck } from '../payments/store-dispute.ts';
import { findDisputes } from './find-disputes.ts';
import { settleDispute } from './settle-dispute.ts';
import type { SubscriptionsContext } from './subscription-rows.ts';

const batchMax = 100;
const concurrencyMax = 4;

interface OpenDispute {
  attempt_id: string;
  provider: string;
  merchant_account: string;
  provider_dispute_id: string;
}

/**
 * Asks providers once a day what became of open disputes, and which were opened, should notices have been lost. Gives
 * how much was due.
 */
export async function followDisputes(ctx: SubscriptionsContext & PaymentsContext): Promise<number> {
  const disputes = await inTransaction(ctx.em, async (tx) => {
    const now = await businessNow(tx);
    const { rows } = await sql<OpenDispute>`
      update dispute set next_check_at = ${nextDisputeCheck(now).toString()}
      where id in (select id from dispute where next_check_at <= ${now.toString()}
        order by next_check_at, id limit ${batchMax} for update skip locked)
      returning attempt_id, provider, merchant_account, provider_dispute_id
    `.execute(tx.getKysely());
    return rows;
  });
  await mapBounded(disputes, concurrencyMax, async (dispute) => {
    const key = { provider: dispute.provider, merchantAccount: dispute.merchant_account };
    try {
      const outcome = await providerOf(ctx, key).lookUpDispute(dispute.provider_dispute_id);
      if (outcome) await settleDispute(ctx, dispute.attempt_id, outcome);
    } catch (error) {
      ctx.log.warn({ err: error, dispute: dispute.provider_dispute_id, ...key }, 'dispute is not looked up yet');
    }
  });
  return disputes.length + (await findDisputes(ctx));
}
