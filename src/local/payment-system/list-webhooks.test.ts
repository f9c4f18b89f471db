import test from 'ava';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../ports.ts';
import { merchantOf } from '../../testing/payment-system-merchant.ts';
import { startPaymentSystem, type PaymentObject } from '../../testing/payment-system.ts';
import { waitUntil } from '../../testing/wait-until.ts';
import { startWebhookReceiver } from '../../testing/webhook-receiver.ts';
import type { WebhookFault } from './ledger-line.ts';
import type { WebhookObject } from './list-webhooks.ts';

interface Teardown {
  teardown(work: () => unknown): void;
}

const start = '2031-03-01T00:00:00.000Z';

async function startOwn(t: Teardown, webhookUrl: string) {
  const dataDir = mkdtempSync(join(tmpdir(), 'payment-webhooks-'));
  let system = await startPaymentSystem({ webhookUrl, dataDir });
  t.teardown(async () => {
    await system.stop();
    rmSync(dataDir, { recursive: true, force: true });
  });
  await system.setClock(start, false);
  const merchant = merchantOf(() => system);
  return {
    merchant,
    /** Moves its clock, and waits until what became due was tried. */
    async to(now: string) {
      await system.setClock(now, false);
      await waitUntil('all is tried', async () => (await system.clock()).undelivered_webhooks === 0);
    },
    async paid(webhooks: WebhookFault | null = null): Promise<PaymentObject> {
      const checkout = await merchant.openCheckout();
      await system.script(checkout.customer_reference, { webhooks });
      await system.pay(checkout.page_url!);
      await waitUntil('it is tried', async () => (await system.clock()).undelivered_webhooks === 0);
      return checkout;
    },
    list: async (query = '') => (await merchant.call(`/v1/webhooks${query}`)).body['data'] as WebhookObject[],
    nextAt: async () => (await system.clock()).next_at,
    async restart() {
      await system.kill();
      system = await startPaymentSystem({ webhookUrl, dataDir });
    },
  };
}

test('shows what became of each webhook, newest first, and the same after a restart', async (t) => {
  const receiver = await startWebhookReceiver();
  t.teardown(() => receiver.close());
  const own = await startOwn(t, receiver.url);
  const plain = await own.paid();
  const duplicated = await own.paid('duplicated');
  const late = await own.paid('late');
  const lost = await own.paid('lost');
  const forged = await own.paid('badly_signed');

  const shown = await own.list();
  const told = { type: 'payment.succeeded', created_at: start, last_status: 204, last_tried_at: start };
  const never = { last_status: null, last_tried_at: null };
  const over = { ...told, state: 'delivered', next_try_at: null };
  const of = ({ id, customer_reference }: PaymentObject) => ({ payment: id, customer_reference });
  t.deepEqual(
    shown.map(({ id, ...rest }) => (t.regex(id, /^evt_/), rest)),
    [
      // It is signed wrongly once; this merchant takes everything.
      { number: 4, ...of(forged), ...over, tries: 1 },
      { number: 3, ...of(lost), ...told, ...never, state: 'lost', tries: 0, next_try_at: null },
      {
        number: 2,
        ...of(late),
        ...told,
        ...never,
        state: 'held_back',
        tries: 0,
        next_try_at: '2031-03-01T00:10:00.000Z',
      },
      { number: 1, ...of(duplicated), ...over, tries: 2 },
      { number: 0, ...of(plain), ...over, tries: 1 },
    ],
  );
  t.deepEqual(
    receiver.received.map(({ body }) => (JSON.parse(body) as { id: string }).id),
    [shown[4]!.id, shown[3]!.id, shown[3]!.id, shown[0]!.id],
  );
  await own.restart();
  t.deepEqual(await own.list(), shown);

  await own.to('2031-03-01T00:10:00Z');
  t.like((await own.list())[2], { state: 'delivered', tries: 1, last_tried_at: '2031-03-01T00:10:00.000Z' });
});

test('a webhook that is not answered waits for its next try; refused for three days, it is given up', async (t) => {
  const port = await freePort();
  const own = await startOwn(t, `http://127.0.0.1:${port}/webhooks`);
  await own.paid();
  const waiting = { state: 'waiting', tries: 1, last_status: null, next_try_at: '2031-03-01T00:00:01.000Z' };
  t.like((await own.list())[0], waiting);

  const receiver = await startWebhookReceiver(port);
  t.teardown(() => receiver.close());
  receiver.answerWith(500);
  await own.to('2031-03-01T00:00:01Z');
  t.like((await own.list())[0], { state: 'waiting', tries: 2, last_status: 500, last_tried_at: waiting.next_try_at });
  for (let at = await own.nextAt(), steps = 0; at !== null && steps < 30; at = await own.nextAt(), steps++) {
    await own.to(at);
  }
  // 1 s, 5 s, 30 s, 2 min, 10 min, 1 h, 3 h and then every 6 h, in 72 h.
  t.like((await own.list())[0], { state: 'given_up', tries: 19, last_status: 500, next_try_at: null });
  t.is(receiver.received.length, 18);
});

test('pages of one customer or of all do not move when new webhooks come', async (t) => {
  const receiver = await startWebhookReceiver();
  t.teardown(() => receiver.close());
  const own = await startOwn(t, receiver.url);
  const saved = await own.paid();
  await own.paid();
  const method = (await own.merchant.call(`/v1/payments/${saved.id}`)).body as unknown as PaymentObject;
  for (const key of ['first', 'second']) {
    await own.merchant.call('/v1/charges', { key, body: own.merchant.chargeOf(method, key) });
  }
  const numbers = async (query: string) => (await own.list(query)).map(({ number }) => number);
  const mine = `customer_reference=${saved.customer_reference}`;
  t.deepEqual(await numbers('?limit=3'), [3, 2, 1]);
  t.deepEqual(await numbers(`?${mine}&limit=2`), [3, 2]);
  await own.paid();
  t.deepEqual(await numbers('?limit=3&before=1'), [0]);
  t.deepEqual(await numbers(`?${mine}&before=2`), [0]);
  t.deepEqual(await numbers('?before=0'), []);
  t.deepEqual(await numbers('?customer_reference=nobody'), []);
  for (const query of ['limit=0', 'limit=1001', 'limit=x', 'before=-1', 'before=', 'before=1.5']) {
    t.is((await own.merchant.call(`/v1/webhooks?${query}`)).status, 400, query);
  }
  t.is((await own.merchant.call('/v1/webhooks', { method: 'POST' })).status, 404);
});
