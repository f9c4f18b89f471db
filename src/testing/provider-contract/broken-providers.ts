import { randomUUID } from 'node:crypto';
import { OutcomeUnknown, type PaymentProvider } from '../../payments/provider.ts';

export interface BrokenProvider {
  /** The mistake, as a programmer makes it. */
  readonly mistake: string;
  /** The beginning of the title of a check that must find it. */
  readonly foundBy: string;
  breakIt(good: PaymentProvider): PaymentProvider;
}

const freshKey = <T extends { idempotencyKey: string }>(request: T): T => ({
  ...request,
  idempotencyKey: randomUUID(),
});

/** Providers that are wrong in one thing each, for proving that the contract sees it. */
export const brokenProviders: readonly BrokenProvider[] = [
  {
    mistake: 'a new key for every retry',
    foundBy: 'a charge whose answer is lost (reset)',
    breakIt: (good) => ({
      ...good,
      charge: (request) => good.charge(request).catch(() => good.charge(freshKey(request))),
    }),
  },
  {
    mistake: 'a key of its own for every call',
    foundBy: 'the same key charges once',
    breakIt: (good) => ({ ...good, charge: (request) => good.charge(freshKey(request)) }),
  },
  {
    mistake: 'a decline is thrown',
    foundBy: 'a decline is a value: soft',
    breakIt: (good) => ({
      ...good,
      async charge(request) {
        const outcome = await good.charge(request);
        if (outcome.kind === 'declined') throw new Error(outcome.declineCode);
        return outcome;
      },
    }),
  },
  {
    mistake: 'a timeout is told as a decline',
    foundBy: 'a charge whose answer is lost (silence)',
    breakIt: (good) => ({
      ...good,
      async charge(request) {
        try {
          return await good.charge(request);
        } catch (error) {
          if (!(error instanceof OutcomeUnknown)) throw error;
          return { kind: 'declined', providerPaymentId: 'none', declineCode: 'timeout', hard: false };
        }
      },
    }),
  },
  {
    mistake: 'every failure is told as unknown, also one that executed nothing',
    foundBy: 'a refused connection executed nothing',
    breakIt: (good) => ({
      ...good,
      charge: (request) =>
        good.charge(request).catch((cause: unknown) => {
          throw new OutcomeUnknown('failed', { cause });
        }),
    }),
  },
  {
    mistake: 'the amount of the answer is ignored',
    foundBy: 'what was really taken is told',
    breakIt: (good) => ({
      ...good,
      async charge(request) {
        const outcome = await good.charge(request);
        return outcome.kind === 'succeeded' ? { ...outcome, amount: request.amount } : outcome;
      },
    }),
  },
  {
    mistake: 'the amount is sent in another unit',
    foundBy: 'a charge takes exactly what was asked for',
    breakIt: (good) => ({
      ...good,
      charge: (request) =>
        good.charge({ ...request, amount: { ...request.amount, amountMinor: request.amount.amountMinor * 100n } }),
    }),
  },
  {
    mistake: 'an unsigned notice is believed',
    foundBy: 'a notice that is unsigned',
    breakIt: (good) => ({ ...good, authenticateWebhook: () => 'signed' }),
  },
  {
    mistake: 'a look-up believes any payment with the id',
    foundBy: 'what the payment system does not have is undefined',
    breakIt: (good) => ({
      ...good,
      lookUp: (query) =>
        good.lookUp(query).catch(() => ({ kind: 'waiting', providerPaymentId: query.providerPaymentId ?? '' })),
    }),
  },
  {
    mistake: 'a page is said to be closed and is not',
    foundBy: 'a closed page takes no money any more',
    breakIt: (good) => ({
      ...good,
      expireCheckout: async (providerPaymentId) => ({ kind: 'dead', providerPaymentId }),
    }),
  },
  {
    mistake: 'a refund under a key of its own for every call',
    foundBy: 'a refund gives back exactly its amount, once per key',
    breakIt: (good) => ({ ...good, refund: (request) => good.refund(freshKey(request)) }),
  },
  {
    mistake: 'disputes are listed whenever they were opened',
    foundBy: 'a dispute is listed once, in the span',
    breakIt: (good) => ({
      ...good,
      listDisputes: (query) => good.listDisputes({ ...query, from: Temporal.Instant.fromEpochMilliseconds(0) }),
    }),
  },
  {
    mistake: 'a list of disputes that is not answered is told as empty',
    foundBy: 'a list of disputes that is not answered',
    breakIt: (good) => ({
      ...good,
      listDisputes: (query) => good.listDisputes(query).catch(() => ({ disputes: [], nextCursor: undefined })),
    }),
  },
];
