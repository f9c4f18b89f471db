import { findAttemptOfProvider } from '../payments/attempt-rows.ts';
import { mapBounded } from '../payments/call-provider.ts';
import {
  claimDisputeLooks,
  endDisputeLook,
  keepDisputeLook,
  noteForeignDispute,
  type DisputeLook,
} from '../payments/dispute-looks.ts';
import type { DisputeOutcome, PaymentProvider } from '../payments/provider.ts';
import { providerOf, type PaymentsContext } from '../payments/providers.ts';
import { findDisputeNews } from '../payments/store-dispute.ts';
import { settleDispute } from './settle-dispute.ts';
import type { SubscriptionsContext } from './subscription-rows.ts';

const pagesMax = 1_000;
const concurrencyMax = 4;

/**
 * Looks once a day at what was opened at each merchant account, should every notice of a dispute have been lost, and
 * settles what is not known. A look that fails is made again from the same place. Gives how many were due.
 */
export async function findDisputes(ctx: SubscriptionsContext & PaymentsContext): Promise<number> {
  const looks = await claimDisputeLooks(ctx);
  await mapBounded(looks, concurrencyMax, async (look) => {
    try {
      await lookThrough(ctx, look);
      await endDisputeLook(ctx, look, true);
    } catch (error) {
      const { provider, merchantAccount } = look;
      ctx.log.warn({ err: error, provider, merchantAccount }, 'disputes are not looked through yet');
      await endDisputeLook(ctx, look, false);
    }
  });
  return looks.length;
}

async function lookThrough(ctx: SubscriptionsContext & PaymentsContext, look: DisputeLook): Promise<void> {
  const provider = providerOf(ctx, look);
  const { from, to } = look;
  let [cursor, failedCount]: [string | undefined, number] = [undefined, 0];
  for (let page = 0; page < pagesMax; page++) {
    const { disputes, nextCursor } = await provider.listDisputes({ from, to, cursor });
    failedCount += await settleNews(ctx, provider, disputes);
    if (nextCursor === undefined) {
      if (failedCount > 0) throw new Error(`${failedCount} disputes could not be settled`);
      return;
    }
    cursor = nextCursor;
    await keepDisputeLook(ctx, look);
  }
  throw new Error(`more than ${pagesMax} pages of disputes`);
}

/** One that cannot be settled does not keep the others waiting. Gives how many could not. */
async function settleNews(
  ctx: SubscriptionsContext & PaymentsContext,
  provider: PaymentProvider,
  disputes: readonly DisputeOutcome[],
): Promise<number> {
  const { name, merchantAccount } = provider;
  const key = { provider: name, merchantAccount };
  let failedCount = 0;
  await mapBounded(await findDisputeNews(ctx.em.fork(), key, disputes), concurrencyMax, async (outcome) => {
    const about = { ...key, dispute: outcome.providerDisputeId };
    try {
      const { reference, providerPaymentId = null } = outcome.payment;
      const attempt = await findAttemptOfProvider(ctx.em.fork(), provider, { reference, providerPaymentId });
      if (!attempt) {
        const isNew = await noteForeignDispute(ctx, key, outcome.providerDisputeId);
        if (isNew) ctx.log.error(about, 'dispute of a payment that is not ours');
      } else if ((await settleDispute(ctx, attempt.id, outcome)) === 'open') {
        ctx.log.warn(about, 'dispute of a payment that is not known to have succeeded: it is listed again tomorrow');
      }
    } catch (error) {
      failedCount += 1;
      ctx.log.error({ err: error, ...about }, 'dispute could not be settled');
    }
  });
  return failedCount;
}
