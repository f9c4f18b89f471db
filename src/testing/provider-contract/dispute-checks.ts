import assert from 'node:assert/strict';
import { OutcomeUnknown, RequestRefused, type DisputeOutcome, type PaymentProvider } from '../../payments/provider.ts';
import { assertThrows, throughProxy, type ContractCheck } from './check.ts';
import { payOnPage, price } from './subject.ts';

const pagesMax = 100;
const unknownId = 'dp_of_nobody';

interface Span {
  readonly from: Temporal.Instant;
  readonly to: Temporal.Instant;
}

/** Around now, by as many hours. */
const hours = (from: number, to: number): Span => {
  const now = Temporal.Now.instant();
  return { from: now.add({ hours: from }), to: now.add({ hours: to }) };
};

async function listed(provider: PaymentProvider, span: Span): Promise<DisputeOutcome[]> {
  const found: DisputeOutcome[] = [];
  let cursor: string | undefined;
  for (let page = 0; page < pagesMax; page++) {
    const { disputes, nextCursor } = await provider.listDisputes({ ...span, cursor });
    found.push(...disputes);
    if (nextCursor === undefined) return found;
    cursor = nextCursor;
  }
  throw new Error(`more than ${pagesMax} pages of disputes`);
}

/** What cardholders say to their banks. One whose provider is told of no disputes says so. */
export const disputeChecks: readonly ContractCheck[] = [
  {
    title: 'a dispute is listed once, in the span in which it was opened, as a look-up tells it',
    async run(subject) {
      const provider = subject.build();
      if (!provider.capabilities.reportsDisputes) {
        await assertThrows(provider.listDisputes(hours(-1, 1)), RequestRefused);
        await assertThrows(provider.lookUpDispute(unknownId), RequestRefused);
        return;
      }
      for (const paid of [await payOnPage(subject), await payOnPage(subject)]) {
        const id = await subject.dispute!(paid);
        const isIt = ({ providerDisputeId }: DisputeOutcome) => providerDisputeId === id;
        const found = (await listed(provider, hours(-1, 1))).filter(isIt);
        assert.equal(found.length, 1, 'listed once');
        assert.equal(found[0]!.payment.reference, paid.reference);
        assert.equal(found[0]!.status, 'withdrawn');
        assert.deepEqual(found[0]!.amount, { currencyCode: subject.currencyCode, amountMinor: price });
        assert.deepEqual(found[0], await provider.lookUpDispute(id));
        for (const span of [hours(-2, -1), hours(1, 2)]) {
          assert.deepEqual((await listed(provider, span)).filter(isIt), [], 'listed out of its span');
        }
      }
      assert.equal(await provider.lookUpDispute(unknownId), undefined);
    },
  },
  {
    title: 'a list of disputes that is not answered is not an empty one',
    async run(subject) {
      if (!subject.build().capabilities.reportsDisputes) return;
      await throughProxy(subject, async (proxy) => {
        const provider = subject.build({ url: proxy.url });
        for (const fault of ['bad gateway', 'garbage'] as const) {
          proxy.spoil(fault);
          await assertThrows(provider.listDisputes(hours(-1, 1)), OutcomeUnknown);
        }
      });
    },
  },
];
