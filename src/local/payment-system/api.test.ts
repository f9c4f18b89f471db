import test from 'ava';
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { merchantOf } from '../../testing/payment-system-merchant.ts';
import { startPaymentSystem } from '../../testing/payment-system.ts';
import { waitUntil } from '../../testing/wait-until.ts';
import { startWebhookReceiver } from '../../testing/webhook-receiver.ts';

const receiver = await startWebhookReceiver();
const system = await startPaymentSystem({ webhookUrl: receiver.url });
const merchant = merchantOf(() => system);

test.after.always(async () => {
  await system.stop();
  await receiver.close();
});

const checkout = {
  amount_minor: '59900',
  currency: 'RUB',
  reference: 'attempt-1',
  customer_reference: 'viewer-1',
  description: 'Basic',
  return_url: 'https://cinema.example/done',
};

test('answers nobody without the API key', async (t) => {
  const paths = ['/v1/payments', '/v1/payments/x', '/v1/test_clock', '/v1/nothing'];
  for (const authorization of ['', 'Bearer wrong', `Basic ${system.apiKey}`, 'Bearer ']) {
    for (const path of paths) {
      const response = await fetch(`${system.url}${path}`, { headers: { authorization } });
      t.is(response.status, 401);
      t.like(await response.json(), { error: { type: 'authentication_error', code: 'api_key_invalid' } });
    }
  }
});

test('shows a payment whole', async (t) => {
  await system.setClock('2031-05-06T07:08:09Z', false);
  const { body } = await merchant.call('/v1/checkouts', { key: 'whole', body: checkout });
  const { id, customer, ...rest } = body;
  t.regex(id as string, /^pay_[0-9a-f]{32}$/);
  t.regex(customer as string, /^cus_[0-9a-f]{32}$/);
  t.deepEqual(rest, {
    kind: 'checkout',
    mode: 'payment',
    status: 'open',
    amount_minor: '59900',
    currency: 'RUB',
    customer_reference: 'viewer-1',
    payment_method: null,
    reference: 'attempt-1',
    description: 'Basic',
    decline_code: null,
    decline_kind: null,
    refunded_minor: '0',
    page_url: `${system.url}/pay/${String(id)}`,
    action_url: null,
    created_at: '2031-05-06T07:08:09.000Z',
    settled_at: null,
    expires_at: '2031-05-07T06:08:09.000Z',
  });
  t.deepEqual((await merchant.call(`/v1/payments/${String(id)}`)).body, body);
  t.deepEqual((await merchant.call('/v1/payments?reference=attempt-1')).body, { data: [body] });
  t.deepEqual((await merchant.call('/v1/payments?reference=nobody')).body, { data: [] });
});

test('refuses what it cannot read, naming the code', async (t) => {
  const wrong: [object, string][] = [
    [{ amount_minor: 59_900 }, 'amount_invalid'],
    [{ amount_minor: '0' }, 'amount_invalid'],
    [{ amount_minor: '-1' }, 'amount_invalid'],
    [{ amount_minor: '1.5' }, 'amount_invalid'],
    [{ currency: 'rub' }, 'currency_invalid'],
    [{ currency: 'ZZZ' }, 'currency_invalid'],
    [{ reference: '' }, 'parameter_missing'],
    [{ customer_reference: undefined }, 'parameter_missing'],
    [{ description: 7 }, 'parameter_invalid'],
    [{ return_url: 'javascript:alert(1)' }, 'parameter_invalid'],
    [{ return_url: 'nowhere' }, 'parameter_invalid'],
    [{ expires_in_s: 0 }, 'parameter_invalid'],
    [{ amout_minor: '1' }, 'parameter_unknown'],
  ];
  for (const [change, code] of wrong) {
    const answer = await merchant.call('/v1/checkouts', {
      key: 'wrong',
      body: { ...checkout, reference: 'refused', ...change },
    });
    t.like(answer, { status: 400, body: { error: { type: 'invalid_request_error', code } } }, JSON.stringify(change));
  }
  t.deepEqual((await merchant.call('/v1/payments?reference=refused')).body, { data: [] });
  t.like(await merchant.call('/v1/payments/pay_unknown'), { status: 404, body: { error: { code: 'not_found' } } });
  t.like(await merchant.call('/v1/nothing'), { status: 404, body: { error: { code: 'not_found' } } });
});

test('refuses a body that is too large', async (t) => {
  const call = httpRequest(`${system.url}/v1/checkouts`, {
    method: 'POST',
    headers: { authorization: `Bearer ${system.apiKey}`, 'idempotency-key': 'large' },
  });
  call.end('x'.repeat(70_000));
  const [response] = (await once(call, 'response')) as [IncomingMessage];
  t.is(response.statusCode, 413);
  response.resume();
});

test('lists all payments in creation order, page by page', async (t) => {
  const own = await startPaymentSystem({ webhookUrl: receiver.url });
  t.teardown(() => own.stop());
  const shop = merchantOf(() => own);
  const ids: string[] = [];
  for (let index = 0; index < 5; index++) ids.push((await shop.openCheckout()).id);
  const page = async (query: string) => {
    const { body } = await shop.call(`/v1/payments?${query}`);
    return { ids: (body['data'] as { id: string }[]).map(({ id }) => id), has_more: body['has_more'] };
  };
  t.deepEqual(await page('limit=2'), { ids: ids.slice(0, 2), has_more: true });
  t.deepEqual(await page(`limit=2&after=${ids[1]}`), { ids: ids.slice(2, 4), has_more: true });
  t.deepEqual(await page(`limit=2&after=${ids[3]}`), { ids: ids.slice(4), has_more: false });
  t.deepEqual(await page(`limit=5`), { ids, has_more: false });
  t.is((await shop.call('/v1/payments?after=pay_unknown')).status, 400);
  t.is((await shop.call('/v1/payments?limit=501')).status, 400);
});

test('lists the payments begun in a span of time, its start included, its end not', async (t) => {
  const own = await startPaymentSystem({ webhookUrl: receiver.url });
  t.teardown(() => own.stop());
  const shop = merchantOf(() => own);
  const ids: string[] = [];
  for (const day of [1, 2, 2, 3, 4]) {
    await own.setClock(`2031-05-0${day}T00:00:00Z`, false);
    ids.push((await shop.openCheckout()).id);
  }
  const page = async (query: string) => {
    const { body } = await shop.call(`/v1/payments?${query}`);
    return { ids: (body['data'] as { id: string }[]).map(({ id }) => id), has_more: body['has_more'] };
  };
  const span = 'created_from=2031-05-02T00:00:00Z&created_before=2031-05-04T00:00:00Z';
  t.deepEqual(await page(span), { ids: ids.slice(1, 4), has_more: false });
  t.deepEqual(await page(`${span}&limit=2`), { ids: ids.slice(1, 3), has_more: true });
  t.deepEqual(await page(`${span}&limit=2&after=${ids[2]}`), { ids: ids.slice(3, 4), has_more: false });
  t.deepEqual(await page('created_from=2031-05-05T00:00:00Z'), { ids: [], has_more: false });
  t.deepEqual(await page('created_before=2031-05-01T00:00:00Z'), { ids: [], has_more: false });
  t.is((await shop.call('/v1/payments?created_from=yesterday')).status, 400);
});

test('ends on SIGTERM although a caller still waits for an answer that never comes', async (t) => {
  const own = await startPaymentSystem({ webhookUrl: receiver.url });
  const shop = merchantOf(() => own);
  const saved = await shop.saveCard('4000000000009987');
  const held = t.throwsAsync(shop.call('/v1/charges', { key: 'held', body: shop.chargeOf(saved, 'held') }));
  await waitUntil('it is charged', async () => (await own.payments()).length === 2);
  t.is(await own.stop(), 0);
  await held;
});

test('takes 500 charges, 16 in flight, each once', async (t) => {
  const saved = await merchant.saveCard();
  const queue = Array.from({ length: 500 }, (_, index) => `bulk-${index}`);
  const started = performance.now();
  const worker = async (): Promise<void> => {
    for (let key = queue.shift(); key !== undefined; key = queue.shift()) {
      await merchant.call('/v1/charges', { key, body: merchant.chargeOf(saved, key) });
    }
  };
  await Promise.all(Array.from({ length: 16 }, worker));
  t.log(`${Math.round(performance.now() - started)} ms`);
  const taken = (await system.payments()).filter(({ reference }) => reference.startsWith('bulk-'));
  t.is(new Set(taken.map(({ reference }) => reference)).size, 500);
  t.is(taken.filter(({ status }) => status === 'succeeded').length, 500);
});
