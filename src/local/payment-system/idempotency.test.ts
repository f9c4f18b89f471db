import test from 'ava';
import { randomUUID } from 'node:crypto';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { merchantOf, type MerchantAnswer } from '../../testing/payment-system-merchant.ts';
import { startPaymentSystem } from '../../testing/payment-system.ts';
import { waitUntil } from '../../testing/wait-until.ts';
import { startWebhookReceiver } from '../../testing/webhook-receiver.ts';

const dataDir = mkdtempSync(join(tmpdir(), 'payment-idempotency-'));
const receiver = await startWebhookReceiver();
let system = await startPaymentSystem({ webhookUrl: receiver.url, dataDir });
const merchant = merchantOf(() => system);

const restart = async (): Promise<void> => {
  await system.kill();
  system = await startPaymentSystem({ webhookUrl: receiver.url, dataDir });
};

test.after.always(async () => {
  await system.stop();
  await receiver.close();
  rmSync(dataDir, { recursive: true, force: true });
});

test.serial('answers the same bytes for a repeated key, also after SIGKILL and a new start', async (t) => {
  const saved = await merchant.saveCard();
  const checkout = {
    amount_minor: '100',
    currency: 'RUB',
    reference: 'same-checkout',
    customer_reference: 'viewer',
    description: '',
  };
  const charge = merchant.chargeOf(saved, 'same-charge');
  const refund = { payment: saved.id, amount_minor: '1', reference: 'same-refund' };
  const calls = [
    ['/v1/checkouts', checkout],
    ['/v1/charges', charge],
    ['/v1/refunds', refund],
  ] as const;
  const ask = () => Promise.all(calls.map(([path, body]) => merchant.call(path, { key: `same ${path}`, body })));

  const first = await ask();
  t.deepEqual(
    first.map(({ status }) => status),
    [200, 200, 200],
  );
  t.deepEqual(await ask(), first);
  await restart();
  t.deepEqual(await ask(), first);
  t.is((await system.payments()).filter(({ reference }) => reference === 'same-charge').length, 1);
});

test.serial('loses no charge that was answered and doubles none that was not, over SIGKILL under load', async (t) => {
  const saved = await merchant.saveCard();
  const keys = Array.from({ length: 200 }, (_, index) => `load-${index}`);
  const charge = (key: string) => merchant.call('/v1/charges', { key, body: merchant.chargeOf(saved, key) });
  const answered = new Map<string, MerchantAnswer>();
  const queue = [...keys];
  const worker = async (): Promise<void> => {
    for (let key = queue.shift(); key !== undefined; key = queue.shift()) {
      const answer = await charge(key).catch(() => undefined);
      if (answer) answered.set(key, answer);
      if (answered.size === 60) void system.kill();
    }
  };
  await Promise.all(Array.from({ length: 16 }, worker));
  await restart();
  t.true(answered.size >= 60 && answered.size < keys.length, `${answered.size} answered`);

  const again = new Map(await Promise.all(keys.map(async (key) => [key, await charge(key)] as const)));
  for (const [key, answer] of answered) t.deepEqual(again.get(key), answer);
  const references = (await system.payments())
    .map(({ reference }) => reference)
    .filter((reference) => reference.startsWith('load-'));
  t.deepEqual([...references].sort(), [...keys].sort());
});

test.serial('refuses a key with other parameters, and a call without a key', async (t) => {
  const saved = await merchant.saveCard();
  const body = merchant.chargeOf(saved);
  const key = randomUUID();
  await merchant.call('/v1/charges', { key, body });
  const other = await merchant.call('/v1/charges', { key, body: { ...body, amount_minor: '29901' } });
  t.like(other, { status: 400, body: { error: { type: 'idempotency_error', code: 'idempotency_key_reused' } } });
  const otherCall = await merchant.call('/v1/checkouts', { key, body });
  t.like(otherCall, { status: 400, body: { error: { code: 'idempotency_key_reused' } } });
  const reordered = await merchant.call('/v1/charges', {
    key,
    body: Object.fromEntries(Object.entries(body).toReversed()),
  });
  t.is(reordered.status, 200);
  for (const path of ['/v1/checkouts', '/v1/charges', '/v1/refunds']) {
    t.like(await merchant.call(path, { body }), { status: 400, body: { error: { code: 'idempotency_key_missing' } } });
  }
});

test.serial('answers 409 to a key whose first call is under way', async (t) => {
  const saved = await merchant.saveCard();
  const body = merchant.chargeOf(saved);
  const text = JSON.stringify(body);
  const first = httpRequest(`${system.url}/v1/charges`, {
    method: 'POST',
    headers: { authorization: `Bearer ${system.apiKey}`, 'idempotency-key': 'slow', 'content-length': text.length },
  });
  first.write(text.slice(0, 10));
  await waitUntil('the first call is under way', async () => (await system.clock()).calls_in_flight === 1);

  const second = await merchant.call('/v1/charges', { key: 'slow', body });
  t.like(second, { status: 409, body: { error: { type: 'idempotency_error', code: 'idempotency_key_in_use' } } });

  first.end(text.slice(10));
  const [response] = (await once(first, 'response')) as [IncomingMessage];
  t.is(response.statusCode, 200);
  const firstText = (await Array.fromAsync(response as AsyncIterable<Buffer>)).join('');
  t.is((await merchant.call('/v1/charges', { key: 'slow', body })).text, firstText);
});

test.serial('leaves the key of a refused call free', async (t) => {
  const saved = await merchant.saveCard();
  const body = merchant.chargeOf(saved);
  t.is((await merchant.call('/v1/charges', { key: 'free', body: { ...body, amount_minor: '0' } })).status, 400);
  t.is((await merchant.call('/v1/charges', { key: 'free', body })).status, 200);
});
