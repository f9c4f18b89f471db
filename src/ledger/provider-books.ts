import { setTimeout as pause } from 'node:timers/promises';
import type { Money } from '../lib/money.ts';

/** What reconciling needs of a payment system; every `PaymentProvider` of payments, which stands above, fits. */
export interface ProviderBooks {
  readonly name: string;
  readonly merchantAccount: string;
  /** Every payment begun there in `[from, to)`, a page at a time. */
  listPayments(query: {
    readonly from: Temporal.Instant;
    readonly to: Temporal.Instant;
    readonly cursor?: string | undefined;
  }): Promise<{ readonly payments: readonly ProviderPayment[]; readonly nextCursor: string | undefined }>;
  /** One payment; undefined when there is none. */
  lookUp(query: {
    readonly providerPaymentId: string;
    /** Ours, where we began it. */
    readonly reference?: string;
  }): Promise<{ readonly kind: string; readonly amount?: Money } | undefined>;
}

/** A payment as the provider's books have it. */
export interface ProviderPayment {
  readonly providerPaymentId: string;
  /** The id of our attempt, where we began it. */
  readonly reference: string;
  /** `succeeded`: money was taken. */
  readonly status: string;
  readonly amount: Money;
  readonly refundedMinor: bigint;
  readonly createdAt: Temporal.Instant;
}

const triesMax = 3;
const retryMs = 1_000;
const pagesMax = 1_000_000;

/** Hands every page of the list to `onPage`, one after the other. */
export async function forEachPage(
  provider: ProviderBooks,
  span: { from: Temporal.Instant; to: Temporal.Instant },
  onPage: (payments: readonly ProviderPayment[]) => Promise<void>,
): Promise<void> {
  let cursor: string | undefined;
  for (let page = 0; page < pagesMax; page++) {
    const { payments, nextCursor } = await askAgain(() => provider.listPayments({ ...span, cursor }));
    await onPage(payments);
    if (nextCursor === undefined) return;
    cursor = nextCursor;
  }
  throw new Error(`more than ${pagesMax} pages of payments`);
}

/** Reads may be repeated: three times, a second apart. */
export async function askAgain<T>(ask: () => Promise<T>): Promise<T> {
  for (let tried = 1; ; tried++) {
    try {
      return await ask();
    } catch (error) {
      if (tried === triesMax) throw error;
      await pause(retryMs);
    }
  }
}
