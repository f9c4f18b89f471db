import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { randomUUID } from 'node:crypto';
import { NotExecuted, OutcomeUnknown, RequestRefused, type PaymentProvider } from '../../payments/provider.ts';
import type { Fault } from '../fault-proxy.ts';
import { assertThrows, throughProxy, type ContractCheck } from './check.ts';
import { chargeRequest, payOnPage, renewal, type Book } from './subject.ts';

/** Long enough for the call to reach the payment system on a busy machine. */
const shortDeadlineMs = 2_000;
const concurrentRepeats = 8;
const charged: Book = { chargeCount: 1, takenMinor: renewal, returnedMinor: 0n };
const untouched: Book = { chargeCount: 0, takenMinor: 0n, returnedMinor: 0n };

/** The key is remembered even where an answer was lost; whatever is not known yet may come on the repeat. */
async function repeatUntilKnown(provider: PaymentProvider, request: Parameters<PaymentProvider['charge']>[0]) {
  const [result] = await Promise.allSettled([provider.charge(request)]);
  if (result!.status === 'fulfilled') assert.equal(result!.value.kind, 'succeeded');
  else assert.ok(result!.reason instanceof OutcomeUnknown || result!.reason instanceof NotExecuted);
}

const lostAnswer = (fault: Fault & string): ContractCheck => ({
  title: `a charge whose answer is lost (${fault}) is unknown, is found, and is taken once however often it is repeated`,
  async run(subject) {
    const { method } = await payOnPage(subject);
    await throughProxy(subject, async (proxy) => {
      const provider = subject.build({
        url: proxy.url,
        ...(fault === 'silence' && { callDeadlineMs: shortDeadlineMs }),
      });
      const request = chargeRequest(subject, method);
      proxy.spoil(fault, 2);
      await assertThrows(provider.charge(request), OutcomeUnknown);
      assert.deepEqual(await subject.bookOf(request.reference), charged);
      const direct = subject.build();
      const { reference } = request;
      if (direct.capabilities.lookUpByReference) {
        const found = await direct.lookUp({ reference });
        assert.ok(found?.kind === 'succeeded', `found ${found?.kind}`);
        assert.equal(found.amount.amountMinor, renewal);
      }
      for (let repeat = 0; repeat < 3; repeat++) await repeatUntilKnown(direct, request);
      assert.deepEqual(await subject.bookOf(reference), charged);
    });
  },
});

const decline = (card: 'no funds later' | 'stolen later', hard: boolean): ContractCheck => ({
  title: `a decline is a value: ${hard ? 'hard' : 'soft'}, with a code, nothing taken, and the same on a repeat`,
  async run(subject) {
    const { method } = await payOnPage(subject, card);
    const provider = subject.build();
    const request = chargeRequest(subject, method);
    const [told] = await Promise.allSettled([provider.charge(request)]);
    assert.ok(told!.status === 'fulfilled', 'the decline was thrown');
    const outcome = told!.value;
    assert.ok(outcome.kind === 'declined', `told ${outcome.kind}`);
    assert.equal(outcome.hard, hard);
    assert.match(outcome.declineCode, /^[a-z0-9_]{1,64}$/);
    assert.deepEqual(await provider.charge(request), outcome);
    const { providerPaymentId } = outcome;
    assert.deepEqual(await provider.lookUp({ providerPaymentId, reference: request.reference }), outcome);
    assert.deepEqual(await subject.bookOf(request.reference), untouched);
  },
});

/** Charges of a saved method. */
export const chargeChecks: readonly ContractCheck[] = [
  {
    title: 'a charge takes exactly what was asked for and is found by its id and by our reference',
    async run(subject) {
      const { method } = await payOnPage(subject);
      const provider = subject.build();
      const request = chargeRequest(subject, method);
      const outcome = await provider.charge(request);
      assert.ok(outcome.kind === 'succeeded', `told ${outcome.kind}`);
      assert.deepEqual(outcome.amount, request.amount);
      assert.equal(outcome.method?.providerMethodId, method.providerMethodId);
      assert.equal(outcome.method?.fingerprint, method.fingerprint);
      const { providerPaymentId } = outcome;
      const { reference } = request;
      assert.deepEqual(await provider.lookUp({ providerPaymentId, reference }), outcome);
      assert.deepEqual(await provider.lookUp({ providerPaymentId }), outcome, 'by its id alone, whoever began it');
      if (provider.capabilities.lookUpByReference) assert.deepEqual(await provider.lookUp({ reference }), outcome);
      assert.deepEqual(await subject.bookOf(reference), charged);
    },
  },
  {
    title: 'the same key charges once, and other parameters under it are refused',
    async run(subject) {
      const { method } = await payOnPage(subject);
      const provider = subject.build();
      const request = chargeRequest(subject, method);
      const outcome = await provider.charge(request);
      assert.deepEqual(await provider.charge(request), outcome);
      const other = { ...request, amount: { ...request.amount, amountMinor: renewal + 1n } };
      await assertThrows(provider.charge(other), RequestRefused);
      assert.deepEqual(await subject.bookOf(request.reference), charged);
    },
  },
  {
    title: 'concurrent repeats of one key charge once',
    async run(subject) {
      const { method } = await payOnPage(subject);
      const provider = subject.build();
      const request = chargeRequest(subject, method);
      await Promise.all(Array.from({ length: concurrentRepeats }, () => repeatUntilKnown(provider, request)));
      assert.deepEqual(await subject.bookOf(request.reference), charged);
      assert.equal((await provider.charge(request)).kind, 'succeeded');
    },
  },
  decline('no funds later', false),
  decline('stolen later', true),
  ...(['reset', 'silence', 'bad gateway', 'garbage'] as const).map(lostAnswer),
  {
    title: 'a refused connection executed nothing',
    async run(subject) {
      const provider = subject.build({ url: await refusingUrl() });
      const { method } = await payOnPage(subject);
      const request = chargeRequest(subject, method);
      await assertThrows(provider.charge(request), NotExecuted);
      await assertThrows(provider.lookUp({ reference: request.reference, providerPaymentId: 'x' }), NotExecuted);
    },
  },
  {
    title: 'wrong credentials are refused, and nothing happens',
    async run(subject) {
      const { method } = await payOnPage(subject);
      const request = chargeRequest(subject, method);
      await assertThrows(subject.build({ wrongSecrets: true }).charge(request), RequestRefused);
      assert.deepEqual(await subject.bookOf(request.reference), untouched);
    },
  },
  {
    title: 'what was really taken is told, or nothing: never what was asked for in its place',
    async run(subject) {
      const { method } = await payOnPage(subject);
      const provider = subject.build();
      const request = chargeRequest(subject, method);
      const outcome = await provider.charge(request);
      await throughProxy(subject, async (proxy) => {
        const query = { providerPaymentId: outcome.providerPaymentId, reference: request.reference };
        const throughIt = subject.build({ url: proxy.url });
        for (const call of [() => throughIt.lookUp(query), () => throughIt.charge(request)]) {
          proxy.spoil({ rewrite: (answer) => subject.withOtherAmount(answer) });
          const [result] = await Promise.allSettled([call()]);
          if (result!.status === 'rejected') assert.ok(result!.reason instanceof OutcomeUnknown);
          else if (result!.value?.kind === 'succeeded') assert.notEqual(result!.value.amount.amountMinor, renewal);
          else assert.fail(`told ${result!.value?.kind}`);
        }
      });
    },
  },
  {
    title: 'what the payment system does not have is undefined, and a payment of another reference is not believed',
    async run(subject) {
      const { method, providerPaymentId } = await payOnPage(subject);
      const provider = subject.build();
      const reference = randomUUID();
      if (provider.capabilities.lookUpByReference) assert.equal(await provider.lookUp({ reference }), undefined);
      await assertThrows(provider.lookUp({ providerPaymentId, reference }), OutcomeUnknown);
      const charge = await provider.charge(chargeRequest(subject, method));
      const missing = alter(charge.providerPaymentId ?? '');
      assert.equal(await provider.lookUp({ providerPaymentId: missing, reference }), undefined);
    },
  },
  {
    title: 'a method may be removed twice, and a charge of one that is not there is a hard decline',
    async run(subject) {
      const { method } = await payOnPage(subject);
      const provider = subject.build();
      await provider.detachMethod(method);
      await provider.detachMethod(method);
      const gone = provider.capabilities.canDetachMethod
        ? method
        : { ...method, providerMethodId: alter(method.providerMethodId) };
      const request = chargeRequest(subject, gone);
      const outcome = await provider.charge(request);
      assert.ok(outcome.kind === 'declined' && outcome.hard, `told ${outcome.kind}`);
      assert.deepEqual(await subject.bookOf(request.reference), untouched);
    },
  },
];

/** An id of the same form that is nobody's. */
const alter = (id: string) => id.slice(0, -1) + (id.endsWith('0') ? '1' : '0');

async function refusingUrl(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return `http://127.0.0.1:${port}`;
}
