import test from 'ava';
import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { merchantOf } from '../../testing/payment-system-merchant.ts';
import { startPaymentSystem } from '../../testing/payment-system.ts';
import { startWebhookReceiver } from '../../testing/webhook-receiver.ts';

const receiver = await startWebhookReceiver();
test.after.always(() => receiver.close());

const folder = (t: { teardown(work: () => unknown): void }): string => {
  const dataDir = mkdtempSync(join(tmpdir(), 'payment-ledger-'));
  t.teardown(() => rmSync(dataDir, { recursive: true, force: true }));
  return dataDir;
};

test('rebuilds everything from its one file', async (t) => {
  const dataDir = folder(t);
  let system = await startPaymentSystem({ webhookUrl: receiver.url, dataDir });
  t.teardown(() => system.stop());
  const merchant = merchantOf(() => system);
  const saved = await merchant.saveCard('4000000000009979');
  await merchant.saveCard('4000000000000002');
  await merchant.call('/v1/refunds', { key: 'r', body: { payment: saved.id, amount_minor: '5', reference: 'r' } });
  await system.setClock('2031-01-01T00:00:00Z', false);
  const before = await system.payments();
  t.is(await system.stop(), 0);
  t.deepEqual(readdirSync(dataDir), ['ledger.jsonl']);

  system = await startPaymentSystem({ webhookUrl: receiver.url, dataDir });
  t.deepEqual(await system.payments(), before);
  t.like(await system.clock(), { now: '2031-01-01T00:00:00.000Z', running: false });
  const later = await merchant.call('/v1/charges', { key: 'c', body: merchant.chargeOf(saved) });
  t.like(later.body, { status: 'declined', decline_code: 'stolen_card' }, 'the saved card behaves as before');
  const tooMuch = { payment: saved.id, amount_minor: '59896', reference: 'r2' };
  t.is((await merchant.call('/v1/refunds', { key: 'r2', body: tooMuch })).status, 400);
});

test('cuts off a last line that a crash tore, and goes on', async (t) => {
  const dataDir = folder(t);
  let system = await startPaymentSystem({ webhookUrl: receiver.url, dataDir });
  t.teardown(() => system.stop());
  const merchant = merchantOf(() => system);
  await merchant.saveCard();
  const before = await system.payments();
  await system.kill();
  const path = join(dataDir, 'ledger.jsonl');
  // Longer than one read of the search for the last line's end.
  appendFileSync(path, `{"type":"charged","at":"2026-11-${'x'.repeat(200_000)}`);

  system = await startPaymentSystem({ webhookUrl: receiver.url, dataDir });
  t.deepEqual(await system.payments(), before);
  const next = await merchant.openCheckout();
  await system.kill();
  system = await startPaymentSystem({ webhookUrl: receiver.url, dataDir });
  t.deepEqual(
    (await system.payments()).map(({ id }) => id),
    [...before.map(({ id }) => id), next.id],
  );
});

test('does not start on a ledger that is damaged in the middle', async (t) => {
  const dataDir = folder(t);
  const system = await startPaymentSystem({ webhookUrl: receiver.url, dataDir });
  const merchant = merchantOf(() => system);
  await merchant.openCheckout();
  await merchant.openCheckout();
  await system.stop();
  const path = join(dataDir, 'ledger.jsonl');
  writeFileSync(path, readFileSync(path, 'utf8').replace('"type"', '"ty'));
  await t.throwsAsync(startPaymentSystem({ webhookUrl: receiver.url, dataDir }), {
    message: /line 1 of .* is damaged/,
  });
});
