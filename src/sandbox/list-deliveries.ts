import { cutPage, pageSizeOf, readPageToken, type PageRequest } from '../db/page.ts';
import { BillingError } from '../lib/billing-error.ts';
import { NotExecuted, OutcomeUnknown } from '../payments/provider.ts';
import type { SandboxContext } from './advance-clock.ts';

/** A notice of the payment system, as the payment system itself knows it. */
export interface Delivery {
  /** Its place among all notices, in the order in which they were made. */
  readonly number: number;
  readonly providerEventId: string;
  /** In the payment system's words. */
  readonly type: string;
  readonly providerPaymentId: string;
  /** Auth's; undefined where it is nobody's of ours. */
  readonly userId: string | undefined;
  readonly state: 'WAITING' | 'HELD_BACK' | 'DELIVERED' | 'LOST' | 'GIVEN_UP';
  readonly tries: number;
  /** What we answered the last time; undefined when it was not sent yet, or nobody answered. */
  readonly lastHttpStatus: number | undefined;
  readonly createdAt: Temporal.Instant;
  readonly lastTriedAt: Temporal.Instant | null;
  readonly nextTryAt: Temporal.Instant | null;
}

/** Which of the payment system's notices: the newest ones, before one of them by its number. */
export interface DeliveryQuery {
  readonly userId: string | undefined;
  readonly before: number | undefined;
  readonly limit: number;
}

/**
 * The payment system's notices, newest first, of one viewer (Auth's user id) or, when it is empty, of all. Throws
 * DELIVERIES_NOT_LISTED, PAGE_TOKEN_INVALID, PROVIDER_UNAVAILABLE.
 */
export async function listDeliveries(
  ctx: SandboxContext,
  input: PageRequest & { userId: string },
): Promise<{ items: Delivery[]; nextPageToken: string }> {
  const { sandbox } = ctx;
  if (sandbox.deliveries === undefined) {
    throw new BillingError('wrong-state', 'DELIVERIES_NOT_LISTED', 'only the sandbox payment system lists its notices');
  }
  const userId = input.userId.toLowerCase();
  const list = JSON.stringify(['deliveries', userId]);
  const cursor = readPageToken(ctx, list, input);
  const query = {
    userId: userId === '' ? undefined : userId,
    before: cursor && Number(cursor.id),
    limit: pageSizeOf(input) + 1,
  };
  const rows = await sandbox.deliveries(query).catch((cause: unknown) => {
    if (!(cause instanceof NotExecuted || cause instanceof OutcomeUnknown)) throw cause;
    throw new BillingError('unavailable', 'PROVIDER_UNAVAILABLE', 'the payment system does not answer; try again', {
      cause,
      retryDelayMs: 1_000,
    });
  });
  return cutPage(ctx, list, input, rows, ({ createdAt, number }) => ({ at: createdAt, id: String(number) }));
}
