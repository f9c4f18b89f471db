import type { PaymentsContext } from '../payments/providers.ts';
import { sweepAttempts } from '../payments/sweep-attempts.ts';
import { settlePayments } from './settle-payment.ts';
import type { SubscriptionsContext } from './subscription-rows.ts';

/** One round of the sweeper: looks at attempts whose outcome is open and settles what it learns. Gives how many. */
export async function followAttempts(ctx: SubscriptionsContext & PaymentsContext): Promise<number> {
  const swept = await sweepAttempts(ctx);
  await settlePayments(ctx, swept);
  return swept.length;
}
