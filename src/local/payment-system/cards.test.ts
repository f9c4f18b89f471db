import test, { type ExecutionContext } from 'ava';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { merchantOf } from '../../testing/payment-system-merchant.ts';
import { startPaymentSystem, type PaymentObject } from '../../testing/payment-system.ts';
import { waitUntil } from '../../testing/wait-until.ts';
import { startWebhookReceiver } from '../../testing/webhook-receiver.ts';

const receiver = await startWebhookReceiver();
const system = await startPaymentSystem({ webhookUrl: receiver.url });
const merchant = merchantOf(() => system);
const stillSilentMs = 2_000;

test.after.always(async () => {
  await system.stop();
  await receiver.close();
});

const charge = async (payment: PaymentObject): Promise<PaymentObject> => {
  const body = merchant.chargeOf(payment);
  const { status, text } = await merchant.call('/v1/charges', { key: crypto.randomUUID(), body });
  if (status !== 200) throw new Error(text);
  return JSON.parse(text) as PaymentObject;
};

const lookUp = async (reference: string): Promise<PaymentObject[]> =>
  (await merchant.call(`/v1/payments?reference=${reference}`)).body['data'] as PaymentObject[];

async function isNeverAnswered(t: ExecutionContext, call: (signal: AbortSignal) => Promise<unknown>): Promise<void> {
  await t.throwsAsync(call(AbortSignal.timeout(stillSilentMs)), { name: 'TimeoutError' });
}

test('4242 4242 4242 4242 always pays', async (t) => {
  const saved = await merchant.saveCard('4242 4242 4242 4242');
  t.like(saved, { kind: 'checkout', status: 'succeeded', amount_minor: '59900', currency: 'RUB', decline_code: null });
  t.like(saved.payment_method, { brand: 'visa', last4: '4242' });
  t.like(await charge(saved), {
    kind: 'off_session',
    status: 'succeeded',
    amount_minor: '29900',
    customer: saved.customer,
    customer_reference: saved.customer_reference,
    payment_method: saved.payment_method,
    description: 'Basic, February',
    page_url: null,
  });
});

test('4000 0000 0000 0002 is declined on the page, which stays open for another card', async (t) => {
  const open = await merchant.saveCard('4000000000000002');
  t.like(open, { status: 'open', decline_code: 'insufficient_funds', decline_kind: 'soft', payment_method: null });
  t.is((await system.pay(open.page_url!)).status, 200);
  const [paid] = await lookUp(open.reference);
  t.like(paid, { status: 'succeeded', decline_code: null, decline_kind: null });
  t.is(paid!.payment_method!.last4, '4242');
});

test('4000 0000 0000 0341 pays on the page and is soft-declined later', async (t) => {
  const saved = await merchant.saveCard('4000000000000341');
  t.is(saved.status, 'succeeded');
  t.like(await charge(saved), { status: 'declined', decline_code: 'insufficient_funds', decline_kind: 'soft' });
});

test('4000 0000 0000 9979 pays on the page and is hard-declined later', async (t) => {
  const saved = await merchant.saveCard('4000000000009979');
  t.is(saved.status, 'succeeded');
  t.like(await charge(saved), { status: 'declined', decline_code: 'stolen_card', decline_kind: 'hard' });
});

test('4000 0000 0000 9987 is charged once later and never answered, however often the key is repeated', async (t) => {
  const saved = await merchant.saveCard('4000000000009987');
  t.is(saved.status, 'succeeded');
  const body = merchant.chargeOf(saved, 'never-answered');
  await isNeverAnswered(t, (signal) => merchant.call('/v1/charges', { key: 'never', body, signal }));
  await isNeverAnswered(t, (signal) => merchant.call('/v1/charges', { key: 'never', body, signal }));
  const found = await lookUp('never-answered');
  t.is(found.length, 1);
  t.like(found[0], { kind: 'off_session', status: 'succeeded', amount_minor: '29900' });
  await waitUntil('the webhook tells of it', () =>
    receiver.received.some(({ body }) => body.includes('"payment.succeeded"') && body.includes(found[0]!.id)),
  );
});

test('4000 0000 0000 9995 is charged on the page and the page never answers', async (t) => {
  const open = await merchant.openCheckout({ reference: 'silent-page' });
  const form = new URLSearchParams({ card: '4000000000009995', action: 'pay' });
  await isNeverAnswered(t, (signal) => fetch(open.page_url!, { method: 'POST', body: form, signal }));
  t.like((await lookUp('silent-page'))[0], { id: open.id, status: 'succeeded' });
});

test('does not count a charge that is never answered as a call in flight', async (t) => {
  const saved = await merchant.saveCard('4000000000009987');
  const gone = new AbortController();
  const body = merchant.chargeOf(saved, 'held-open');
  const held = merchant.call('/v1/charges', { key: 'held-open', body, signal: gone.signal });
  await waitUntil('the charge is in the ledger', async () => (await lookUp('held-open')).length === 1);
  const settled = await Promise.race([held, system.clock()]);
  t.like(settled, { running: true }, 'the clock answers and the charge does not');
  await waitUntil('no call is in flight', async () => (await system.clock()).calls_in_flight === 0);
  gone.abort();
  await t.throwsAsync(held, { name: 'AbortError' });
});

test('declines a detached card for good', async (t) => {
  const saved = await merchant.saveCard();
  const path = `/v1/payment_methods/${saved.payment_method!.id}`;
  t.like((await merchant.call(path)).body, { last4: '4242', customer: saved.customer, detached: false });
  t.like(await merchant.call(path, { method: 'DELETE' }), { status: 200, body: { detached: true } });
  t.is((await merchant.call(path, { method: 'DELETE' })).status, 200);
  t.like(await charge(saved), { status: 'declined', decline_code: 'payment_method_detached', decline_kind: 'hard' });
});

test('charges no card of another customer', async (t) => {
  const [mine, theirs] = [await merchant.saveCard(), await merchant.saveCard()];
  const body = { ...merchant.chargeOf(mine), payment_method: theirs.payment_method!.id };
  const answer = await merchant.call('/v1/charges', { key: crypto.randomUUID(), body });
  const declined = { status: 'declined', decline_code: 'payment_method_detached', decline_kind: 'hard' };
  t.like(answer, { status: 200, body: { ...declined, payment_method: null } });
});

test('gives one customer reference one customer', async (t) => {
  const more = { customer_reference: 'viewer-1' };
  const [first, second] = [await merchant.openCheckout(more), await merchant.openCheckout(more)];
  t.is(first.customer, second.customer);
  t.not(first.customer, (await merchant.openCheckout()).customer);
});

test('writes no card number to its ledger or its log', async (t) => {
  for (const card of ['4242424242424242', '4000000000000002', '4000 0000 0000 0341']) await merchant.saveCard(card);
  await merchant.saveCard('5555 5555 5555 4444');
  const ledger = readFileSync(join(system.dataDir, 'ledger.jsonl'), 'utf8');
  t.true(ledger.includes('"last4":"0341"'));
  t.notRegex(
    `${ledger}${system.log.join('\n')}`,
    /(4000|4242|5555)[ -]?[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{4}(?![0-9a-f])/,
  );
});
