import assert from 'node:assert/strict';
import { OutcomeUnknown } from '../../payments/provider.ts';
import { assertThrows, throughProxy, type ContractCheck } from './check.ts';
import { chargeRequest, checkoutRequest, price, renewal } from './subject.ts';

/** Pages for the first payment and for saving a method. */
export const pageChecks: readonly ContractCheck[] = [
  {
    title: 'a page waits until it is paid, and then tells the money and the saved method',
    async run(subject) {
      const provider = subject.build();
      const request = checkoutRequest(subject);
      const { reference } = request;
      const { providerPaymentId, url, expiresAt } = await provider.startCheckout(request);
      assert.match(url, /^https?:\/\//);
      assert.ok(expiresAt.epochMilliseconds > Date.now());
      assert.equal((await provider.lookUp({ providerPaymentId, reference }))?.kind, 'waiting');
      assert.equal((await subject.bookOf(reference)).takenMinor, 0n);

      await subject.pay(url, 'good');
      const outcome = await provider.lookUp({ providerPaymentId, reference });
      assert.ok(outcome?.kind === 'succeeded', `told ${outcome?.kind}`);
      assert.equal(outcome.providerPaymentId, providerPaymentId);
      assert.deepEqual(outcome.amount, request.amount);
      assert.match(outcome.method?.last4 ?? '', /^[0-9]{4}$/);
      if (provider.capabilities.lookUpByReference) assert.deepEqual(await provider.lookUp({ reference }), outcome);
      assert.deepEqual(await subject.bookOf(reference), { chargeCount: 1, takenMinor: price, returnedMinor: 0n });
    },
  },
  {
    title: 'the same key opens the same page, also when the first answer was lost',
    async run(subject) {
      await throughProxy(subject, async (proxy) => {
        const provider = subject.build({ url: proxy.url });
        const request = checkoutRequest(subject);
        proxy.spoil('bad gateway', 2);
        await assertThrows(provider.startCheckout(request), OutcomeUnknown);
        const direct = subject.build();
        const page = await direct.startCheckout(request);
        const again = await direct.startCheckout(request);
        assert.equal(again.providerPaymentId, page.providerPaymentId);
        assert.equal(again.url, page.url);
        assert.ok(again.expiresAt.equals(page.expiresAt));
      });
    },
  },
  {
    title: 'a closed page takes no money any more, and one that was paid before keeps its money',
    async run(subject) {
      const provider = subject.build();
      const request = checkoutRequest(subject);
      const { providerPaymentId, url } = await provider.startCheckout(request);
      if (!provider.capabilities.canCloseCheckout) {
        await assertThrows(provider.expireCheckout(providerPaymentId), OutcomeUnknown);
        await subject.pay(url, 'good');
        assert.equal((await provider.expireCheckout(providerPaymentId)).kind, 'succeeded');
        return;
      }
      for (let closing = 0; closing < 2; closing++) {
        assert.deepEqual(await provider.expireCheckout(providerPaymentId), { kind: 'dead', providerPaymentId });
      }
      await Promise.allSettled([subject.pay(url, 'good')]);
      assert.equal((await subject.bookOf(request.reference)).takenMinor, 0n);
      const { reference } = request;
      assert.deepEqual(await provider.lookUp({ providerPaymentId, reference }), { kind: 'dead', providerPaymentId });

      const paid = await provider.startCheckout(checkoutRequest(subject));
      await subject.pay(paid.url, 'good');
      assert.equal((await provider.expireCheckout(paid.providerPaymentId)).kind, 'succeeded');
    },
  },
  {
    title: 'a set-up takes nothing, and its method can be charged',
    async run(subject) {
      const provider = subject.build();
      const request = checkoutRequest(subject, 'setup');
      const { reference } = request;
      const { providerPaymentId, url } = await provider.startCheckout(request);
      assert.equal((await provider.lookUp({ providerPaymentId, reference }))?.kind, 'waiting');
      await subject.pay(url, 'good');
      const outcome = await provider.lookUp({ providerPaymentId, reference });
      assert.ok(outcome?.kind === 'method saved', `told ${outcome?.kind}`);
      assert.equal((await subject.bookOf(reference)).takenMinor, 0n);
      const charge = chargeRequest(subject, outcome.method);
      assert.equal((await provider.charge(charge)).kind, 'succeeded');
      assert.equal((await subject.bookOf(charge.reference)).takenMinor, renewal);
    },
  },
];
