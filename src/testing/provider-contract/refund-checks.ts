import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { OutcomeUnknown, RequestRefused, type RefundRequest } from '../../payments/provider.ts';
import { assertThrows, throughProxy, type ContractCheck } from './check.ts';
import { payOnPage, price, type ContractSubject } from './subject.ts';

const part = 19_900n;

function refundRequest(subject: ContractSubject, providerPaymentId: string, amountMinor = part): RefundRequest {
  const reference = randomUUID();
  const amount = { currencyCode: subject.currencyCode, amountMinor };
  return { idempotencyKey: `rfd_${reference}`, reference, providerPaymentId, amount };
}

const returned = async (subject: ContractSubject, reference: string) => (await subject.bookOf(reference)).returnedMinor;

/** Money that goes back. */
export const refundChecks: readonly ContractCheck[] = [
  {
    title: 'a refund gives back exactly its amount, once per key, also of several at once',
    async run(subject) {
      const { providerPaymentId, reference } = await payOnPage(subject);
      const provider = subject.build();
      const request = refundRequest(subject, providerPaymentId);
      const { providerRefundId } = await provider.refund(request);
      assert.equal((await provider.refund(request)).providerRefundId, providerRefundId);
      assert.equal(await returned(subject, reference), part);
      const second = refundRequest(subject, providerPaymentId);
      await Promise.allSettled(Array.from({ length: 5 }, () => provider.refund(second)));
      assert.equal(await returned(subject, reference), part * 2n);
    },
  },
  {
    title: 'a refund whose answer is lost is unknown, and its repeat gives nothing back again',
    async run(subject) {
      const { providerPaymentId, reference } = await payOnPage(subject);
      await throughProxy(subject, async (proxy) => {
        const provider = subject.build({ url: proxy.url });
        const request = refundRequest(subject, providerPaymentId);
        // A provider may have to look the payment up first: every answer is lost.
        proxy.spoil('bad gateway', 4);
        await assertThrows(provider.refund(request), OutcomeUnknown);
        const direct = subject.build();
        await direct.refund(request);
        await direct.refund(request);
        assert.equal(await returned(subject, reference), part);
      });
    },
  },
  {
    title: 'more than was taken, and what was never taken, is refused',
    async run(subject) {
      const { providerPaymentId, reference } = await payOnPage(subject);
      const provider = subject.build();
      await assertThrows(provider.refund(refundRequest(subject, providerPaymentId, price + 1n)), RequestRefused);
      await provider.refund(refundRequest(subject, providerPaymentId, price));
      await assertThrows(provider.refund(refundRequest(subject, providerPaymentId, 1n)), RequestRefused);
      assert.equal(await returned(subject, reference), price);
    },
  },
];
