import test from 'ava';
import { chargeRequest, checkoutRequest, payOnPage } from '../../../testing/provider-contract/subject.ts';
import { startStripeSubject } from '../../../testing/provider-contract/stripe-subject.ts';
import type { DoubleCard } from '../../../local/double/cards.ts';
import { OutcomeUnknown, RequestRefused } from '../../provider.ts';
import { createStripeProvider } from './stripe-provider.ts';

const { subject, double } = await startStripeSubject();
test.after.always(() => double.close());

const provider = subject.build();

/** A charge of a card that behaves like that; it has been saved on a page. */
async function chargeOf(card: DoubleCard) {
  const request = checkoutRequest(subject);
  const page = await provider.startCheckout(request);
  double.pay(page.url, card);
  const paid = await provider.lookUp({ providerPaymentId: page.providerPaymentId, reference: request.reference });
  if (paid?.kind !== 'succeeded' || !paid.method) throw new Error(`not paid: ${paid?.kind}`);
  return chargeRequest(subject, paid.method);
}

const callsWith = (key: string) => double.calls.filter((call) => call.key === key).map(({ call }) => call);

test.serial('a charge that needs the customer waits with the address of the bank, and is taken after it', async (t) => {
  const request = await chargeOf('needs customer');
  const { reference } = request;
  const outcome = await provider.charge(request);
  if (outcome.kind !== 'waiting') return t.fail(outcome.kind);
  t.is(outcome.actionUrl, `${double.url}/authenticate/${outcome.providerPaymentId}`);
  t.deepEqual(await provider.charge(request), outcome, 'asked once');
  t.is(double.objects('payment_intent').filter(({ id }) => id === outcome.providerPaymentId).length, 1);
  t.deepEqual(await subject.bookOf(reference), { chargeCount: 0, takenMinor: 0n, returnedMinor: 0n });

  double.authenticate(outcome.actionUrl!);
  const { providerPaymentId } = outcome;
  t.like(await provider.lookUp({ providerPaymentId, reference }), { kind: 'succeeded', amount: request.amount });
  t.is((await subject.bookOf(reference)).chargeCount, 1);
});

test.serial('a charge that waits is killed, and the bank can bring it no money any more', async (t) => {
  const request = await chargeOf('needs customer');
  const waiting = await provider.charge(request);
  if (waiting.kind !== 'waiting') return t.fail(waiting.kind);
  const { providerPaymentId } = waiting;
  t.deepEqual(await provider.cancelPending(providerPaymentId), { kind: 'dead', providerPaymentId });
  double.authenticate(waiting.actionUrl!);
  t.is((await subject.bookOf(request.reference)).takenMinor, 0n);

  const processing = await provider.charge(await chargeOf('processing later'));
  if (processing.kind !== 'waiting') return t.fail(processing.kind);
  t.deepEqual(await provider.cancelPending(processing.providerPaymentId), processing, 'it cannot be killed');
  const paid = await provider.charge(await chargeOf('good'));
  t.is((await provider.cancelPending(paid.providerPaymentId!)).kind, 'succeeded', 'nor one that is paid');
});

test.serial('a stored 500 stays unknown on every repeat, and a look-up tells that the money was taken', async (t) => {
  const request = await chargeOf('error later');
  for (let repeat = 0; repeat < 3; repeat++) {
    await t.throwsAsync(provider.charge(request), { instanceOf: OutcomeUnknown });
  }
  t.like(await provider.lookUp({ reference: request.reference }), { kind: 'succeeded', amount: request.amount });
  t.is((await subject.bookOf(request.reference)).chargeCount, 1);
});

test.serial('every call that does something carries our key, once', async (t) => {
  const request = await chargeOf('good');
  await provider.charge(request);
  t.deepEqual(callsWith(request.idempotencyKey), ['POST /v1/payment_intents']);
  const creating = double.calls.filter(({ call }) =>
    /^POST \/v1\/(payment_intents|refunds|checkout\/sessions)$/.test(call),
  );
  t.true(creating.length > 0);
  t.deepEqual(
    creating.filter(({ key }) => !/^(pay|rfd)_/.test(key ?? '')),
    [],
    'none with a key that the package made up',
  );
});

test.serial('a payment that the search does not have yet is not found by its reference, but by its id', async (t) => {
  const request = await chargeOf('good');
  const { reference } = request;
  const { providerPaymentId } = await provider.charge(request);
  double.notSearchableYet.add(providerPaymentId!);
  t.is(await provider.lookUp({ reference }), undefined);
  t.is((await provider.lookUp({ reference, providerPaymentId }))?.kind, 'succeeded');
  double.notSearchableYet.clear();
  t.is((await provider.lookUp({ reference }))?.kind, 'succeeded');
});

test.serial('a page is found by its reference before anybody has paid, also among many', async (t) => {
  const request = checkoutRequest(subject);
  const { providerPaymentId } = await provider.startCheckout(request);
  for (let count = 0; count < 101; count++) await provider.startCheckout(checkoutRequest(subject));
  t.deepEqual(await provider.lookUp({ reference: request.reference }), { kind: 'waiting', providerPaymentId });
});

test.serial('a refund that takes its time is pending, and is found by its id and by our reference', async (t) => {
  for (const [refundStatus, kind] of [
    ['pending', 'pending'],
    ['failed', 'failed'],
    ['succeeded', 'succeeded'],
  ] as const) {
    const { providerPaymentId } = await payOnPage(subject);
    const reference = crypto.randomUUID();
    const amount = { currencyCode: 'EUR', amountMinor: 100n };
    double.refundStatus = refundStatus;
    const outcome = await provider.refund({ idempotencyKey: `rfd_${reference}`, reference, providerPaymentId, amount });
    t.is(outcome.kind, kind);
    const { providerRefundId } = outcome;
    t.deepEqual(await provider.lookUpRefund({ providerRefundId, reference, providerPaymentId }), outcome);
    t.deepEqual(await provider.lookUpRefund({ reference, providerPaymentId }), outcome);
    t.is(await provider.lookUpRefund({ reference: crypto.randomUUID(), providerPaymentId }), undefined);
  }
  double.refundStatus = 'succeeded';
});

test.serial('all payments of a span of time are listed once each, page by page', async (t) => {
  const charge = await chargeOf('good');
  await provider.charge(charge);
  const declined = await chargeOf('no funds later');
  await provider.charge(declined);
  const { from, to } = {
    from: Temporal.Instant.fromEpochMilliseconds(0),
    to: Temporal.Now.instant().add({ hours: 1 }),
  };
  const listed: { reference: string; status: string; amountMinor: bigint }[] = [];
  let cursor: string | undefined;
  let pages = 0;
  do {
    const page = await provider.listPayments({ from, to, cursor });
    listed.push(...page.payments.map(({ reference, status, amount }) => ({ reference, status, ...amount })));
    cursor = page.nextCursor;
    pages += 1;
  } while (cursor !== undefined && pages < 20);
  t.true(pages > 2, 'more than one page of each kind');
  const lineOf = (reference: string) => listed.filter((line) => line.reference === reference);
  t.like(lineOf(charge.reference), [{ status: 'succeeded', amountMinor: 29_900n }]);
  t.like(lineOf(declined.reference), [{ status: 'declined' }]);
  t.is(new Set(listed.map(({ reference }) => reference)).size, listed.length);
  const taken = listed.filter(({ status }) => status === 'succeeded').reduce((sum, line) => sum + line.amountMinor, 0n);
  const charged = double.objects('charge').reduce((sum, line) => sum + BigInt(Number(line['amount'])), 0n);
  t.is(taken, charged);
  t.deepEqual(await provider.listPayments({ from, to: from, cursor: 'intent:' }), {
    payments: [],
    nextCursor: undefined,
  });
});

test.serial(
  'a notice about the intent of a page, of the other mode or of another kind is about no payment',
  async (t) => {
    const paid = await payOnPage(subject);
    const intent = double
      .objects('payment_intent')
      .find(({ metadata }) => (metadata as Record<string, string>)['reference'] === paid.reference)!;
    t.is(provider.readWebhook(double.event('payment_intent.succeeded', intent.id).raw).payment, undefined);
    const notice = double.event('checkout.session.completed', paid.providerPaymentId).raw;
    t.is(provider.readWebhook(notice).payment?.reference, paid.reference);
    t.is(provider.readWebhook(double.event('customer.created', paid.providerPaymentId).raw).payment, undefined);
    const options = { account: 'acct_double', webhookSecrets: ['whsec_x'], returnUrl: 'https://cinema.example/' };
    const live = createStripeProvider({ ...options, apiKey: 'sk_live_x' });
    t.is(live.readWebhook(notice).payment, undefined);
  },
);

test.serial('a dispute is read with the money that moved: none for an inquiry, away, back, or lost', async (t) => {
  const disputed = async (kind: 'dispute' | 'inquiry') => {
    const request = await chargeOf('good');
    const { providerPaymentId } = await provider.charge(request);
    const id = double.dispute(providerPaymentId!, kind);
    return { id, payment: { providerPaymentId, reference: request.reference }, amount: request.amount };
  };
  const { id, payment, amount } = await disputed('dispute');
  const event = provider.readWebhook(double.event('charge.dispute.created', id).raw);
  t.like(event, { payment: undefined, providerDisputeId: id });
  const read = { providerDisputeId: id, payment, amount, reason: 'fraudulent' };
  t.deepEqual(await provider.lookUpDispute(id), { ...read, status: 'withdrawn' });
  double.closeDispute(id, 'won');
  t.deepEqual(await provider.lookUpDispute(id), { ...read, status: 'reinstated' });
  const other = await disputed('dispute');
  double.closeDispute(other.id, 'lost');
  t.is((await provider.lookUpDispute(other.id))?.status, 'lost');
  const asked = await disputed('inquiry');
  t.is((await provider.lookUpDispute(asked.id))?.status, 'no funds moved');
  t.is(await provider.lookUpDispute('dp_nobody'), undefined);

  const page = await payOnPage(subject);
  const intent = double
    .objects('payment_intent')
    .find(({ metadata }) => (metadata as Record<string, string>)['reference'] === page.reference)!;
  const ofPage = await provider.lookUpDispute(double.dispute(intent.id));
  t.is(ofPage?.payment.reference, page.reference, 'a first payment is found by our reference');
});

test.serial(
  'disputes are listed page by page, each once, and one without an intent of Stripe’s is nobody’s',
  async (t) => {
    const { from, to } = {
      from: Temporal.Now.instant().subtract({ hours: 1 }),
      to: Temporal.Now.instant().add({ hours: 1 }),
    };
    const paid = await payOnPage(subject);
    const ids: string[] = [];
    for (let count = 0; count < 101; count++) ids.push(await subject.dispute!(paid));
    // A charge as other programs make it, of another currency.
    const foreign = ids[50]!;
    const stored = double.objects('dispute').find(({ id }) => id === foreign)!;
    Object.assign(stored, { payment_intent: null, currency: 'isk' });
    const first = await provider.listDisputes({ from, to });
    t.is(first.disputes.length, 100);
    const second = await provider.listDisputes({ from, to, cursor: first.nextCursor });
    t.is(second.nextCursor, undefined);
    const all = [...first.disputes, ...second.disputes];
    t.is(new Set(all.map(({ providerDisputeId }) => providerDisputeId)).size, all.length);
    const listed = all.filter(({ providerDisputeId }) => ids.includes(providerDisputeId));
    t.is(listed.length, 101);
    t.deepEqual(listed.find(({ providerDisputeId }) => providerDisputeId === foreign)?.payment, {
      providerPaymentId: undefined,
      reference: '',
    });
    t.deepEqual(await provider.listDisputes({ from: to, to: to.add({ hours: 1 }) }), {
      disputes: [],
      nextCursor: undefined,
    });
  },
);

test.serial('an amount that Stripe would count in another unit is refused before anything is sent', async (t) => {
  const request = await chargeOf('good');
  const before = double.calls.length;
  for (const amount of [
    { currencyCode: 'ISK', amountMinor: 100n },
    { currencyCode: 'EUR', amountMinor: 100_000_000n },
  ]) {
    await t.throwsAsync(provider.charge({ ...request, amount }), { instanceOf: RequestRefused });
  }
  t.is(double.calls.length, before);
});

test('is not built without a secret or an address to return to', (t) => {
  const options = {
    apiKey: 'sk_test_x',
    account: 'acct_x',
    webhookSecrets: ['whsec_x'],
    returnUrl: 'https://c.example/',
  };
  for (const webhookSecrets of [[], [''], ['a', ''], ['a', 'b', 'c']]) {
    t.throws(() => createStripeProvider({ ...options, webhookSecrets }));
  }
  t.throws(() => createStripeProvider({ ...options, returnUrl: 'javascript:alert(1)' }));
});
