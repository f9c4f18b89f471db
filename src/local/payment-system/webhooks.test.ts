import test from 'ava';
import { createHmac } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../ports.ts';
import { merchantOf } from '../../testing/payment-system-merchant.ts';
import { startPaymentSystem, type PaymentObject } from '../../testing/payment-system.ts';
import { waitUntil } from '../../testing/wait-until.ts';
import { startWebhookReceiver, type WebhookReceiver } from '../../testing/webhook-receiver.ts';

interface Notice {
  id: string;
  type: string;
  created_at: string;
  data: { payment: PaymentObject; refund?: object };
}

const start = '2031-03-01T00:00:00.000Z';

const noticesOf = (receiver: WebhookReceiver): Notice[] =>
  receiver.received.map(({ body }) => JSON.parse(body) as Notice);

async function startBoth(t: { teardown(work: () => unknown): void }) {
  const receiver = await startWebhookReceiver();
  const system = await startPaymentSystem({ webhookUrl: receiver.url, webhookSecret: 'a shared secret' });
  t.teardown(async () => {
    await system.stop();
    await receiver.close();
  });
  await system.setClock(start, false);
  return { receiver, system, merchant: merchantOf(() => system) };
}

test('tells of each result once, signed over the raw body', async (t) => {
  const { receiver, system, merchant } = await startBoth(t);
  const paid = await merchant.saveCard();
  const declined = await merchant.saveCard('4000000000000002');
  const expired = await merchant.openCheckout();
  await merchant.call(`/v1/checkouts/${expired.id}/expire`, { method: 'POST' });
  const refund = { payment: paid.id, amount_minor: '900', reference: 'r' };
  const refunded = await merchant.call('/v1/refunds', { key: 'refund', body: refund });
  await waitUntil('all are delivered', async () => (await system.clock()).undelivered_webhooks === 0);

  const notices = noticesOf(receiver);
  t.deepEqual(notices.map(({ type, data }) => `${type} ${data.payment.id}`).sort(), [
    `payment.declined ${declined.id}`,
    `payment.expired ${expired.id}`,
    `payment.succeeded ${paid.id}`,
    `refund.succeeded ${paid.id}`,
  ]);
  t.is(new Set(notices.map(({ id }) => id)).size, 4);
  const refundNotice = notices.find(({ type }) => type === 'refund.succeeded')!;
  t.like(refundNotice, { created_at: start, data: { payment: { refunded_minor: '900' } } });
  t.deepEqual({ ...refundNotice.data.refund }, refunded.body);
  t.is(notices.find(({ type }) => type === 'payment.declined')!.data.payment.decline_code, 'insufficient_funds');

  for (const { headers, body } of receiver.received) {
    const [, seconds, mac] = /^t=([0-9]+),v1=([0-9a-f]{64})$/.exec(String(headers['sandbox-signature']))!;
    t.is(mac, createHmac('sha256', 'a shared secret').update(`${seconds}.${body}`).digest('hex'));
    t.true(Math.abs(Date.now() / 1_000 - Number(seconds)) < 60, 'by the real clock, not by the business clock');
  }
});

test('repeats a refused webhook after 1 s, 5 s, 30 s, 2 min, 10 min, 1 h, 3 h, then every 6 h, for 3 days', async (t) => {
  const { receiver, system, merchant } = await startBoth(t);
  receiver.answerWith(500);
  await merchant.saveCard();
  const settle = () => waitUntil('it is refused', async () => (await system.clock()).undelivered_webhooks === 0);
  await settle();
  const waitsS: number[] = [];
  for (let { now, next_at } = await system.clock(); next_at !== null && waitsS.length < 30;) {
    waitsS.push((Date.parse(next_at) - Date.parse(now)) / 1_000);
    await system.setClock(next_at, false);
    await settle();
    ({ now, next_at } = await system.clock());
  }
  const sixHours = 21_600;
  t.deepEqual(waitsS, [1, 5, 30, 120, 600, 3_600, 10_800, ...Array<number>(11).fill(sixHours)]);
  t.is(receiver.received.length, 19);
  t.is(new Set(receiver.received.map(({ body }) => body)).size, 1, 'the same bytes each time');
});

test('stops at the first 2xx', async (t) => {
  const { receiver, system, merchant } = await startBoth(t);
  receiver.answerWith(503);
  await merchant.saveCard();
  await waitUntil('it is refused', async () => (await system.clock()).undelivered_webhooks === 0);
  receiver.answerWith(200);
  const { next_at } = await system.clock();
  await system.setClock(next_at!, false);
  await waitUntil('it is delivered', async () => (await system.clock()).undelivered_webhooks === 0);
  t.is(receiver.received.length, 2);
  t.is((await system.clock()).next_at, null);
});

test('delivers at most 16 at once, and counts the others as undelivered', async (t) => {
  const { receiver, system, merchant } = await startBoth(t);
  const saved = await merchant.saveCard();
  await waitUntil('the first is delivered', async () => (await system.clock()).undelivered_webhooks === 0);
  receiver.hold();
  const keys = Array.from({ length: 20 }, (_, index) => `many-${index}`);
  await Promise.all(keys.map((key) => merchant.call('/v1/charges', { key, body: merchant.chargeOf(saved, key) })));
  await waitUntil('16 are being delivered', () => receiver.received.length === 17);
  t.is((await system.clock()).undelivered_webhooks, 20);
  receiver.release();
  await waitUntil('all are delivered', async () => (await system.clock()).undelivered_webhooks === 0);
  t.is(receiver.received.length, 21);
  t.is(receiver.concurrencyMax(), 16);
});

test('delivers after a restart what was not delivered before, and nothing twice', async (t) => {
  const port = await freePort();
  const dataDir = mkdtempSync(join(tmpdir(), 'payment-webhooks-'));
  const options = { webhookUrl: `http://127.0.0.1:${port}/webhooks`, dataDir };
  let system = await startPaymentSystem(options);
  t.teardown(async () => {
    await system.stop();
    rmSync(dataDir, { recursive: true, force: true });
  });
  const merchant = merchantOf(() => system);
  await system.setClock(start, false);
  const saved = await merchant.saveCard();
  await waitUntil('nobody was there', async () => (await system.clock()).undelivered_webhooks === 0);
  await system.kill();

  const receiver = await startWebhookReceiver(port);
  t.teardown(() => receiver.close());
  system = await startPaymentSystem(options);
  t.like(await system.clock(), { now: start, running: false, next_at: '2031-03-01T00:00:01.000Z' });
  await system.setClock('2031-03-01T00:00:01.000Z', false);
  await waitUntil('it is delivered', async () => (await system.clock()).undelivered_webhooks === 0);
  t.deepEqual(
    noticesOf(receiver).map(({ type, data }) => [type, data.payment.id]),
    [['payment.succeeded', saved.id]],
  );

  await system.kill();
  system = await startPaymentSystem(options);
  await system.setClock('2031-03-02T00:00:00.000Z', false);
  t.like(await system.clock(), { undelivered_webhooks: 0, next_at: null });
  t.is(receiver.received.length, 1);
});
