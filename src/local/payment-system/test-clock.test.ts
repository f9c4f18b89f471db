import test from 'ava';
import { merchantOf } from '../../testing/payment-system-merchant.ts';
import { startPaymentSystem, type TestPaymentSystem } from '../../testing/payment-system.ts';
import { waitUntil } from '../../testing/wait-until.ts';
import { startWebhookReceiver } from '../../testing/webhook-receiver.ts';

const receiver = await startWebhookReceiver();
test.after.always(() => receiver.close());

async function start(t: { teardown(work: () => unknown): void }): Promise<TestPaymentSystem> {
  const system = await startPaymentSystem({ webhookUrl: receiver.url });
  t.teardown(() => system.stop());
  return system;
}

test('shows real time until it is set', async (t) => {
  const system = await start(t);
  const { now, running } = await system.clock();
  t.true(Math.abs(Date.parse(now) - Date.now()) < 10_000);
  t.true(running);
});

test('stands still when frozen and goes on from there when it runs again', async (t) => {
  const system = await start(t);
  const at = '2031-01-15T09:00:00.000Z';
  t.is((await system.setClock(Temporal.Instant.from('2031-01-15T09:00:00Z'), false)).now, at);
  const realMs = Date.now();
  await waitUntil('real time goes on', () => Date.now() > realMs + 50);
  t.like(await system.clock(), { now: at, running: false });

  await system.setClock(at, true);
  const { now } = await waitUntil('it runs', async () => {
    const clock = await system.clock();
    return Date.parse(clock.now) > Date.parse(at) + 20 && clock;
  });
  t.true(Date.parse(now) < Date.parse(at) + 60_000, 'from where it stood, not from real time');
});

test('does not go back, but stops and runs as it is told', async (t) => {
  const system = await start(t);
  await system.setClock('2031-01-15T09:00:00Z', false);
  t.like(await system.setClock('2031-01-15T08:59:59Z', false), { now: '2031-01-15T09:00:00.000Z', running: false });
  const clock = await system.setClock('2030-01-01T00:00:00Z', true);
  t.true(clock.running);
  t.true(clock.now >= '2031-01-15T09:00:00.000Z');
  const { now } = await waitUntil('it goes on', async () => {
    const later = await system.clock();
    return later.now > clock.now && later;
  });
  t.true(now < '2031-01-15T09:01:00.000Z', now);
});

test('expires a checkout at its instant, not before', async (t) => {
  const system = await start(t);
  const merchant = merchantOf(() => system);
  await system.setClock('2031-01-15T09:00:00Z', false);
  const checkout = await merchant.openCheckout();
  t.is(checkout.expires_at, '2031-01-16T08:00:00.000Z', '82800 s later');
  t.is((await system.clock()).next_at, '2031-01-16T08:00:00.000Z');

  await system.setClock('2031-01-16T07:59:59.999Z', false);
  t.is((await merchant.call(`/v1/payments/${checkout.id}`)).body['status'], 'open');
  await system.setClock('2031-01-16T08:00:00Z', false);
  t.like((await merchant.call(`/v1/payments/${checkout.id}`)).body, {
    status: 'expired',
    settled_at: '2031-01-16T08:00:00.000Z',
  });
  t.is((await system.clock()).next_at, null);
  const late = await system.pay(checkout.page_url!);
  t.is(late.status, 409);
  t.is((await merchant.call(`/v1/payments/${checkout.id}`)).body['status'], 'expired');
  await waitUntil('the webhook tells of it', () =>
    receiver.received.some(({ body }) => body.includes('"payment.expired"') && body.includes(checkout.id)),
  );
});

test('set for the time only, does nothing of what became due until it is set again', async (t) => {
  const system = await start(t);
  const merchant = merchantOf(() => system);
  await system.setClock('2031-01-15T09:00:00Z', false);
  const checkout = await merchant.openCheckout();
  const tells = () => receiver.received.some(({ body }) => body.includes(checkout.id));
  const { now } = await system.setClock('2031-01-16T09:00:00Z', false, { timeOnly: true });
  t.is(now, '2031-01-16T09:00:00.000Z');
  t.is((await merchant.call(`/v1/payments/${checkout.id}`)).body['status'], 'open');
  const realMs = Date.now();
  await waitUntil('its own tick passes', () => Date.now() > realMs + 500);
  t.false(tells());
  await system.setClock('2031-01-16T09:00:00Z', false);
  await waitUntil('the webhook tells of it', tells);
  t.is((await merchant.call(`/v1/payments/${checkout.id}`)).body['status'], 'expired');
});

test('expires a checkout by itself while the clock runs', async (t) => {
  const system = await start(t);
  const merchant = merchantOf(() => system);
  const checkout = await merchant.openCheckout({ expires_in_s: 1 });
  await waitUntil(
    'it is expired',
    async () => (await merchant.call(`/v1/payments/${checkout.id}`)).body['status'] === 'expired',
  );
  t.pass();
});

test('expires a checkout on demand, again and again, but not one that is paid', async (t) => {
  const system = await start(t);
  const merchant = merchantOf(() => system);
  const checkout = await merchant.openCheckout();
  const expire = (id: string) => merchant.call(`/v1/checkouts/${id}/expire`, { method: 'POST' });
  const first = await expire(checkout.id);
  t.like(first, { status: 200, body: { id: checkout.id, status: 'expired' } });
  t.deepEqual(await expire(checkout.id), first);
  t.is((await system.pay(checkout.page_url!)).status, 409);

  const paid = await merchant.saveCard();
  t.like(await expire(paid.id), { status: 200, body: { id: paid.id, status: 'succeeded' } });
  t.is((await expire('pay_unknown')).status, 404);
});
