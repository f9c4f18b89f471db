import { randomUUID } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import type { RawNotice } from './payments/provider.ts';
import { startStripeSubject } from './testing/provider-contract/stripe-subject.ts';
import type { ContractSubject } from './testing/provider-contract/subject.ts';
import { startYookassaSubject } from './testing/provider-contract/yookassa-subject.ts';
import { waitUntil } from './testing/wait-until.ts';
import { startWorld } from './testing/world.ts';

const returnUrl = 'https://cinema.example/account';
const monthly = 29_900n;

/** Subscribe, pay on the page, hear of it, renew a month later: the service as a process, the money in the double. */
async function livesThrough(
  t: ExecutionContext,
  name: string,
  subject: ContractSubject,
  env: Record<string, string>,
): Promise<void> {
  const world = await startWorld({
    at: Temporal.Now.instant().toString(),
    env: { PAYMENT_PROVIDER: name, ...env },
  });
  t.teardown(() => world.stop());
  const { subscriptions, sandbox } = world.clients();
  const userId = randomUUID();
  const token = await world.auth.token({ sub: userId });
  const { subscription, checkout } = await subscriptions.subscribe(
    { requestId: randomUUID(), priceId: world.prices.basic },
    { token },
  );
  await subject.pay(checkout!.url, 'good');
  const [attempt] = await world.query(`select id, provider_payment_id from payment_attempt`);
  const [reference, providerPaymentId] = [String(attempt!['id']), String(attempt!['provider_payment_id'])];

  const send = (notice: RawNotice) =>
    fetch(`${world.service.httpUrl}/v1/webhooks/${name}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...(notice.headers as Record<string, string>) },
      body: Buffer.from(notice.raw),
    });
  const notice = subject.noticeOf({ providerPaymentId, reference });
  t.is((await send(notice)).status, 200);
  t.is((await send(notice)).status, 200, 'the same notice again');
  await waitUntil('the notice activates the subscription', async () => {
    const [row] = await world.query(`select status from subscription where id = $1`, [subscription!.id]);
    return row?.['status'] === 'ACTIVE';
  });

  await world.query(`update sandbox_clock set set_to = set_to + interval '32 days'`);
  const renewed = await waitUntil('the month is renewed', async () => {
    const rows = await world.query(
      `select a.id from payment_attempt a join payment p on p.id = a.payment_id
       where p.purpose like 'cycle:%' and a.state = 'SUCCEEDED'`,
    );
    return rows[0];
  });
  const once = { chargeCount: 1, takenMinor: monthly, returnedMinor: 0n };
  t.deepEqual(await subject.bookOf(reference), once);
  t.deepEqual(await subject.bookOf(String(renewed['id'])), once);
  await t.throwsAsync(sandbox.getClock({}), { message: /UNIMPLEMENTED/i }, 'nobody moves the clock of real money');
  subscriptions.close();
  sandbox.close();
}

test.serial('a subscription lives through its first renewal with Stripe', async (t) => {
  const { subject, double } = await startStripeSubject();
  t.teardown(() => double.close());
  await livesThrough(t, 'stripe', subject, {
    STRIPE_API_URL: double.url,
    STRIPE_API_KEY: double.apiKey,
    STRIPE_ACCOUNT: 'acct_double',
    STRIPE_WEBHOOK_SECRET: double.webhookSecret,
    STRIPE_RETURN_URL: returnUrl,
  });
});

test.serial('a subscription lives through its first renewal with YooKassa', async (t) => {
  const { subject, double } = await startYookassaSubject();
  t.teardown(() => double.close());
  await livesThrough(t, 'yookassa', subject, {
    YOOKASSA_API_URL: double.url,
    YOOKASSA_SHOP_ID: double.shopId,
    YOOKASSA_SECRET_KEY: double.secretKey,
    YOOKASSA_RETURN_URL: returnUrl,
    YOOKASSA_NOTICE_ADDRESSES: '127.0.0.1',
  });
});
