import test from 'ava';
import { createHash } from 'node:crypto';
import { merchantOf } from '../../testing/payment-system-merchant.ts';
import { startPaymentSystem } from '../../testing/payment-system.ts';
import { startWebhookReceiver } from '../../testing/webhook-receiver.ts';

const receiver = await startWebhookReceiver();
const system = await startPaymentSystem({ webhookUrl: receiver.url });
const merchant = merchantOf(() => system);

test.after.always(async () => {
  await system.stop();
  await receiver.close();
});

const get = async (url: string | null): Promise<{ response: Response; html: string }> => {
  const response = await fetch(url!);
  return { response, html: await response.text() };
};

test('shows what is paid and how much, with the decimals of the currency', async (t) => {
  const amounts: [string, string, string][] = [
    ['59900', 'RUB', '599.00'],
    ['500', 'JPY', '¥500<'],
    ['1234', 'KWD', '1.234'],
    ['5', 'USD', '$0.05'],
    ['123456789012345678', 'EUR', '€1,234,567,890,123,456.78'],
  ];
  for (const [amount_minor, currency, shown] of amounts) {
    const { page_url } = await merchant.openCheckout({ amount_minor, currency, description: 'Premium, yearly' });
    const { html } = await get(page_url);
    t.true(html.includes('Premium, yearly'));
    t.true(html.includes(shown), `${shown} for ${amount_minor} ${currency}`);
  }
});

test('offers the good card, the list of test cards, Pay and Decline', async (t) => {
  const { html } = await get((await merchant.openCheckout()).page_url);
  t.regex(html, /<input[^>]* name="card"[^>]* value="4242424242424242"/);
  for (const end of ['4242', '0002', '0341', '9979', '9987', '9995']) t.regex(html, new RegExp(`<dt>4[0-9 ]+ ${end}<`));
  t.regex(html, /<button[^>]* name="action" value="pay"/);
  t.regex(html, /<button[^>]* name="action" value="decline"/);
});

test('escapes what merchants write', async (t) => {
  const description = `</h1><script>alert(1)</script><img src=x onerror="a('b')">&amp;`;
  const { page_url, id } = await merchant.openCheckout({ description });
  const shown =
    '&lt;/h1&gt;&lt;script&gt;alert(1)&lt;/script&gt;&lt;img src=x onerror=&quot;a(&#39;b&#39;)&quot;&gt;&amp;amp;';
  for (const { html } of [await get(page_url), { html: await (await system.pay(page_url!, '"><script>')).text() }]) {
    t.true(html.includes(shown));
    t.notRegex(html, /<script|<img/i);
  }
  t.is((await merchant.call(`/v1/payments/${id}`)).body['status'], 'open');
});

test('lets a browser run nothing, frame nothing and post to nobody else', async (t) => {
  const { page_url } = await merchant.openCheckout({ return_url: 'https://cinema.example/paid?x=1' });
  const missing = `${system.url}/pay/pay_unknown`;
  for (const [url, formTargets] of [
    [page_url!, "'self' https://cinema.example"],
    [missing, "'self'"],
  ] as const) {
    const { response, html } = await get(url);
    const style = createHash('sha256')
      .update(/<style>([^]*)<\/style>/.exec(html)![1]!)
      .digest('base64');
    t.is(
      response.headers.get('content-security-policy'),
      `default-src 'none'; style-src 'sha256-${style}'; form-action ${formTargets}; base-uri 'none'; frame-ancestors 'none'`,
    );
    t.is(response.headers.get('x-content-type-options'), 'nosniff');
    t.is(response.headers.get('cache-control'), 'no-store');
    t.is(response.headers.get('referrer-policy'), 'no-referrer');
  }
  t.is((await fetch(missing)).status, 404);
});

test('sends a customer who paid to the return address, and one who was declined nowhere', async (t) => {
  const { page_url } = await merchant.openCheckout({ return_url: 'https://cinema.example/paid?x=1' });
  const declined = await system.decline(page_url!);
  t.is(declined.status, 200);
  t.true((await declined.text()).includes('declined: card declined'));
  const paid = await system.pay(page_url!);
  t.is(paid.status, 303);
  t.is(paid.headers.get('location'), 'https://cinema.example/paid?x=1');
});

test('says that a payment is paid or expired, and takes nothing more', async (t) => {
  const { id, page_url } = await merchant.openCheckout();
  const result = await system.pay(page_url!);
  t.is(result.status, 200);
  t.true((await result.text()).includes('Paid with visa ending in 4242'));
  const { html } = await get(page_url);
  t.true(html.includes('Paid with visa ending in 4242'));
  t.notRegex(html, /<form/);
  const again = await system.pay(page_url!, '4000000000000002');
  t.is(again.status, 409);
  t.like((await merchant.call(`/v1/payments/${id}`)).body, { status: 'succeeded', decline_code: null });

  const other = await merchant.openCheckout();
  await merchant.call(`/v1/checkouts/${other.id}/expire`, { method: 'POST' });
  t.true((await get(other.page_url)).html.includes('This page has expired and nothing was taken'));
});

test('takes a decline by hand as a soft decline', async (t) => {
  const { id, page_url } = await merchant.openCheckout();
  await system.decline(page_url!);
  t.like((await merchant.call(`/v1/payments/${id}`)).body, {
    status: 'open',
    decline_code: 'card_declined',
    decline_kind: 'soft',
  });
});

test('records no try with a number that is no test card', async (t) => {
  const { id, page_url } = await merchant.openCheckout();
  const answer = await system.pay(page_url!, '5555555555554444');
  t.is(answer.status, 422);
  t.notRegex(await answer.text(), /5555/);
  t.like((await merchant.call(`/v1/payments/${id}`)).body, { status: 'open', decline_code: null });
});
