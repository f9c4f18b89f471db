import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { createYookassaProvider } from '../../payments/providers/yookassa/yookassa-provider.ts';
import { startYookassaDouble, type YookassaDouble } from '../yookassa-double/server.ts';

const request = {
  mode: 'payment',
  idempotencyKey: 'pay_1_1',
  reference: '0198c0de-0000-7000-8000-000000000001',
  amount: { currencyCode: 'RUB', amountMinor: 59_900n },
  customerReference: '0198c0de-0000-7000-8000-000000000002',
  description: 'Basic',
  returnUrl: '',
} as const;

function providerOf({ url: baseUrl, shopId, secretKey }: YookassaDouble) {
  const returnUrl = 'https://cinema.example/account';
  return createYookassaProvider({ baseUrl, shopId, secretKey, returnUrl, noticeAddresses: ['any'] });
}

test('a double that is started again knows its payments, its saved cards, and what became of a key', async (t) => {
  const dataDir = mkdtempSync(join(tmpdir(), 'double-'));
  t.teardown(() => rmSync(dataDir, { recursive: true, force: true }));
  const before = await startYookassaDouble({ dataDir });
  const page = await providerOf(before).startCheckout(request);
  before.pay(page.url, 'good');
  await before.close();

  const after = await startYookassaDouble({ dataDir });
  t.teardown(() => after.close());
  const again = await providerOf(after).startCheckout(request);
  t.is(again.providerPaymentId, page.providerPaymentId, 'the same key, the same page');
  const { reference } = request;
  const outcome = await providerOf(after).lookUp({ providerPaymentId: page.providerPaymentId, reference });
  t.is(outcome?.kind, 'succeeded');
  if (outcome?.kind !== 'succeeded' || !outcome.method) return t.fail('no method');
  const charged = await providerOf(after).charge({
    ...request,
    ...outcome.method,
    idempotencyKey: 'pay_2_1',
    reference: '0198c0de-0000-7000-8000-000000000003',
  });
  t.is(charged.kind, 'succeeded');
});

test('a page shows what it is for, in a browser too, and closes with the payment', async (t) => {
  const double = await startYookassaDouble();
  t.teardown(() => double.close());
  const { url } = await providerOf(double).startCheckout({ ...request, description: '<b>Basic</b>' });
  const open = await (await fetch(url)).text();
  t.regex(open, /599\.00 RUB[^]*<form method="post">/);
  const unknown = await fetch(url, { method: 'POST', body: new URLSearchParams({ card: '1', action: 'pay' }) });
  t.is(unknown.status, 409);
  const paid = await fetch(url, {
    method: 'POST',
    body: new URLSearchParams({ card: '4242 4242 4242 4242', action: 'pay' }),
  });
  t.is(paid.status, 200);
  t.regex(await paid.text(), /This page is closed/);
});
