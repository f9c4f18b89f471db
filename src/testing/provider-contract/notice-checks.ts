import assert from 'node:assert/strict';
import { WebhookRejected, type PaymentProvider, type RawNotice } from '../../payments/provider.ts';
import type { ContractCheck } from './check.ts';
import { payOnPage } from './subject.ts';

const ageMaxS = 300;
const encode = (text: string) => new TextEncoder().encode(text);

/** Nobody may be taken for the payment system; a provider whose system does not sign believes nothing at all. */
function assertNotBelieved(provider: PaymentProvider, notice: RawNotice, what: string): void {
  let verdict: string;
  try {
    verdict = provider.authenticateWebhook(notice);
  } catch (error) {
    assert.ok(error instanceof WebhookRejected, `${what}: threw ${String(error)}`);
    return;
  }
  assert.equal(verdict, 'hint only', `${what} was taken for the payment system's`);
}

/** What the payment system tells unasked. */
export const noticeChecks: readonly ContractCheck[] = [
  {
    title: 'a notice names a payment that a look-up finds, and the same event the same way',
    async run(subject) {
      const paid = await payOnPage(subject);
      const provider = subject.build();
      const notice = subject.noticeOf(paid);
      assert.ok(['signed', 'hint only'].includes(provider.authenticateWebhook(notice)));
      const event = provider.readWebhook(notice.raw);
      assert.match(event.eventId, /^[\x21-\x7e]{1,255}$/);
      assert.deepEqual(provider.readWebhook(notice.raw), event);
      assert.ok(event.payment, 'is about no payment');
      assert.equal(event.payment.reference, paid.reference);
      assert.equal((await provider.lookUp(event.payment))?.kind, 'succeeded');
    },
  },
  {
    title: 'a notice that is unsigned, changed, signed by another or out of its time is not believed',
    async run(subject) {
      const paid = await payOnPage(subject);
      const provider = subject.build();
      const notice = subject.noticeOf(paid);
      assertNotBelieved(provider, { ...notice, headers: {} }, 'an unsigned notice');
      for (const name of Object.keys(notice.headers)) {
        assertNotBelieved(provider, { ...notice, headers: { ...notice.headers, [name]: '' } }, `an empty ${name}`);
      }
      const changed = Uint8Array.from(notice.raw);
      changed[changed.length >> 1]! ^= 1;
      assertNotBelieved(provider, { ...notice, raw: changed }, 'a changed notice');
      assertNotBelieved(provider, { ...notice, raw: encode('') }, 'an empty notice');
      assertNotBelieved(subject.build({ wrongSecrets: true }), notice, 'a notice of another secret');
      for (const ageS of [ageMaxS + 5, -ageMaxS - 5]) {
        assertNotBelieved(provider, subject.noticeOf(paid, ageS), `a notice that is ${ageS} s old`);
      }
    },
  },
  {
    title: 'what is no notice is rejected as one',
    async run(subject) {
      const provider = subject.build();
      for (const text of ['', '{}', 'null', '[]', '"x"', '{"id":', '\u0000', '<html></html>']) {
        assert.throws(() => provider.readWebhook(encode(text)), WebhookRejected, JSON.stringify(text));
      }
      assert.throws(() => provider.readWebhook(Uint8Array.of(0x7b, 0xff, 0x7d)), WebhookRejected);
    },
  },
];
