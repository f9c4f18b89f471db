import test from 'ava';
import { merchantOf } from '../../testing/payment-system-merchant.ts';
import { startPaymentSystem, type PaymentObject } from '../../testing/payment-system.ts';
import { waitUntil } from '../../testing/wait-until.ts';
import { startWebhookReceiver } from '../../testing/webhook-receiver.ts';

const receiver = await startWebhookReceiver();
const system = await startPaymentSystem({ webhookUrl: receiver.url });
const merchant = merchantOf(() => system);
const needsAction = '4000000000003220';
const settlesLater = '4000000000000077';
await system.setClock('2031-03-01T00:00:00Z', false);

test.after.always(async () => {
  await system.stop();
  await receiver.close();
});

const charge = async (card: string): Promise<PaymentObject> => {
  const body = merchant.chargeOf(await merchant.saveCard(card));
  const { status, text } = await merchant.call('/v1/charges', { key: crypto.randomUUID(), body });
  if (status !== 200) throw new Error(text);
  return JSON.parse(text) as PaymentObject;
};
const present = async ({ id }: PaymentObject) => (await merchant.call(`/v1/payments/${id}`)).body;
const cancel = async ({ id }: PaymentObject) =>
  (await merchant.call(`/v1/payments/${id}/cancel`, { method: 'POST' })).body;
const answer = (payment: PaymentObject, action: string) =>
  fetch(payment.action_url!, { method: 'POST', body: new URLSearchParams({ action }) });
const isTold = (type: string, { id }: PaymentObject) =>
  waitUntil(`${type} is told`, () =>
    receiver.received.find(({ body }) => body.includes(`"${type}"`) && body.includes(id)),
  );

test.serial('a charge that needs the customer takes nothing until its page is confirmed', async (t) => {
  const payment = await charge(needsAction);
  t.like(payment, { kind: 'off_session', status: 'requires_action', settled_at: null, page_url: null });
  await isTold('payment.action_required', payment);
  const page = await (await fetch(payment.action_url!)).text();
  t.regex(page, /Basic, February.*299\.00.*visa card ending in 3220.*Confirm.*Refuse/s);
  t.is((await answer(payment, 'pay')).status, 400);
  t.is((await present(payment))['status'], 'requires_action');
  t.is((await answer(payment, 'confirm')).status, 200);
  t.like(await present(payment), { status: 'succeeded', settled_at: '2031-03-01T00:00:00.000Z' });
  await isTold('payment.succeeded', payment);
  t.is((await answer(payment, 'refuse')).status, 409);
  t.is((await cancel(payment))['status'], 'succeeded', 'the money came before');
});

test.serial('a customer who refuses is a soft decline', async (t) => {
  const payment = await charge(needsAction);
  t.regex(await (await answer(payment, 'refuse')).text(), /refused this payment and nothing was taken/);
  t.like(await present(payment), { status: 'declined', decline_code: 'authentication_failed', decline_kind: 'soft' });
});

test.serial('a charge that waits for its customer can be cancelled, and no money comes through its page', async (t) => {
  const payment = await charge(needsAction);
  t.is((await cancel(payment))['status'], 'canceled');
  t.is((await cancel(payment))['status'], 'canceled', 'again');
  t.is((await answer(payment, 'confirm')).status, 409);
  t.is((await present(payment))['status'], 'canceled');
  await isTold('payment.canceled', payment);
  t.is((await merchant.call('/v1/payments/pay_none/cancel', { method: 'POST' })).status, 404);
});

test.serial('a set-up saves a card, takes nothing and cannot be refunded', async (t) => {
  const more = { mode: 'setup', amount_minor: undefined };
  const open = await merchant.openCheckout(more);
  t.like(open, { kind: 'checkout', mode: 'setup', status: 'open', amount_minor: '0', currency: 'RUB' });
  t.regex(await (await fetch(open.page_url!)).text(), /Nothing is taken now.*Save the card/s);
  await system.decline(open.page_url!);
  t.is((await present(open))['status'], 'open');
  await system.pay(open.page_url!);
  const saved = (await present(open)) as unknown as PaymentObject;
  t.is(saved.status, 'succeeded');
  t.regex(await (await fetch(open.page_url!)).text(), /Saved visa ending in 4242/);
  const body = merchant.chargeOf(saved);
  t.like(await merchant.call('/v1/charges', { key: 'after-setup', body }), {
    status: 200,
    body: { status: 'succeeded' },
  });
  const refund = { payment: open.id, amount_minor: '1', reference: 'none' };
  t.is((await merchant.call('/v1/refunds', { key: 'of-setup', body: refund })).status, 400);
  for (const wrong of [{ mode: 'setup' }, { mode: 'free' }]) await t.throwsAsync(merchant.openCheckout(wrong));
});

test.serial('a card has one fingerprint, whoever saves it', async (t) => {
  const print = async (card: string) => (await merchant.saveCard(card)).payment_method?.fingerprint;
  const first = await print('4242424242424242');
  t.regex(first!, /^fp_[0-9a-f]{32}$/);
  t.is(await print('4242 4242 4242 4242'), first);
  const others = await Promise.all(['4000056655665556', '4242420000000000', '4242420000000018'].map(print));
  t.is(new Set([first, ...others]).size, 4);
  t.is(await print('4242420000000001'), undefined, 'its check digit is wrong');
});

test.serial('what waits ends by the clock: charges and refunds under way, and pages nobody answers', async (t) => {
  const forgotten = await charge(needsAction);
  const underWay = await charge(settlesLater);
  t.like(underWay, { status: 'processing', settled_at: null });
  t.is((await cancel(underWay))['status'], 'processing', 'it cannot be cancelled');
  const refunds = [];
  for (const card of ['4000000000007726', '4000000000005126']) {
    const { id } = await merchant.saveCard(card);
    const body = { payment: id, amount_minor: '59900', reference: `refund of ${card}` };
    const { body: refund } = await merchant.call('/v1/refunds', { key: card, body });
    t.is(refund['status'], 'pending');
    refunds.push({ id, refund });
  }
  await system.setClock('2031-03-01T00:59:59Z', false);
  t.is((await present(underWay))['status'], 'processing');
  t.is((await system.clock()).next_at, '2031-03-01T01:00:00.000Z');
  await system.setClock('2031-03-01T01:00:00Z', false);
  t.like(await present(underWay), { status: 'succeeded', settled_at: '2031-03-01T01:00:00.000Z' });
  await isTold('payment.succeeded', underWay);
  const ended = [];
  for (const { id, refund } of refunds) {
    const { status, failure_reason } = (await merchant.call(`/v1/refunds/${String(refund['id'])}`)).body;
    const { refunded_minor } = (await merchant.call(`/v1/payments/${id}`)).body;
    ended.push([status, failure_reason, refunded_minor]);
  }
  t.deepEqual(ended, [
    ['succeeded', null, '59900'],
    ['failed', 'card_closed', '0'],
  ]);
  t.is((await present(forgotten))['status'], 'requires_action');
  await system.setClock('2031-03-01T23:00:00Z', false);
  t.is((await present(forgotten))['status'], 'expired');
});

test.serial('a start from the ledger keeps what is under way', async (t) => {
  const own = await startPaymentSystem({ webhookUrl: receiver.url });
  const shop = merchantOf(() => own);
  const body = shop.chargeOf(await shop.saveCard(settlesLater));
  const { id } = (await shop.call('/v1/charges', { key: 'under-way', body })).body;
  await own.kill();
  const again = await startPaymentSystem({ webhookUrl: receiver.url, dataDir: own.dataDir });
  t.teardown(async () => {
    await again.stop();
    await own.stop();
  });
  const present = async () => (await again.payments()).find((payment) => payment.id === id)!.status;
  t.is(await present(), 'processing');
  await again.setClock(Temporal.Now.instant().add({ hours: 2 }), false);
  t.is(await present(), 'succeeded');
});
