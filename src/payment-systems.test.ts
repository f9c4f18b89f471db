import { randomUUID } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import type { StripeDouble } from './local/stripe-double/server.ts';
import type { RawNotice } from './payments/provider.ts';
import { startStripeSubject } from './testing/provider-contract/stripe-subject.ts';
import type { ContractSubject } from './testing/provider-contract/subject.ts';
import { startYookassaSubject } from './testing/provider-contract/yookassa-subject.ts';
import { waitUntil } from './testing/wait-until.ts';
import { startWorld, type World } from './testing/world.ts';

const returnUrl = 'https://cinema.example/account';
const monthly = 29_900n;

/** The service as a process, the money in the double; nobody but the test tells it anything. */
async function startWith(t: ExecutionContext, name: string, env: Record<string, string>): Promise<World> {
  const world = await startWorld({
    at: Temporal.Now.instant().toString(),
    env: { PAYMENT_PROVIDER: name, ...env },
  });
  t.teardown(() => world.stop());
  return world;
}

/** Subscribe, pay on the page, hear of it. */
async function takeOut(t: ExecutionContext, world: World, name: string, subject: ContractSubject) {
  const { subscriptions } = world.clients();
  const userId = randomUUID();
  const token = await world.auth.token({ sub: userId });
  const { subscription, checkout } = await subscriptions.subscribe(
    { requestId: randomUUID(), priceId: world.prices.basic },
    { token },
  );
  subscriptions.close();
  const subscriptionId = subscription!.id;
  await subject.pay(checkout!.url, 'good');
  const [attempt] = await world.query(
    `select id, provider_payment_id from payment_attempt where subscription_id = $1`,
    [subscriptionId],
  );
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
    const [row] = await world.query(`select status from subscription where id = $1`, [subscriptionId]);
    return row?.['status'] === 'ACTIVE';
  });
  return { subscriptionId, reference, providerPaymentId };
}

const pass = (world: World, span: string) =>
  world.query(`update sandbox_clock set set_to = set_to + $1::interval`, [span]);

/** The first month, and the next one. */
async function livesThrough(
  t: ExecutionContext,
  name: string,
  subject: ContractSubject,
  env: Record<string, string>,
): Promise<void> {
  const world = await startWith(t, name, env);
  const { reference } = await takeOut(t, world, name, subject);
  await pass(world, '32 days');
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
  const { sandbox } = world.clients();
  await t.throwsAsync(sandbox.getClock({}), { message: /UNIMPLEMENTED/i }, 'nobody moves the clock of real money');
  sandbox.close();
}

const stripeEnv = (double: StripeDouble) => ({
  STRIPE_API_URL: double.url,
  STRIPE_API_KEY: double.apiKey,
  STRIPE_ACCOUNT: 'acct_double',
  STRIPE_WEBHOOK_SECRET: double.webhookSecret,
  STRIPE_RETURN_URL: returnUrl,
});

test.serial('a subscription lives through its first renewal with Stripe', async (t) => {
  const { subject, double } = await startStripeSubject();
  t.teardown(() => double.close());
  await livesThrough(t, 'stripe', subject, stripeEnv(double));
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

test.serial('a dispute of which Stripe told nobody is found, also one that was an inquiry for weeks', async (t) => {
  const { subject, double } = await startStripeSubject();
  t.teardown(() => double.close());
  const world = await startWith(t, 'stripe', stripeEnv(double));
  const [disputed, asked] = [await takeOut(t, world, 'stripe', subject), await takeOut(t, world, 'stripe', subject)];
  const intentOf = ({ reference }: { reference: string }) =>
    double
      .objects('payment_intent')
      .find(({ metadata }) => (metadata as Record<string, string>)['reference'] === reference)!.id;
  const disputes = async () => {
    const rows = await world.query(
      `select d.provider_dispute_id as id, s.id as subscription, s.renewal_blocked as blocked, d.amount_minor::text as amount
       from dispute d join payment_attempt a on a.id = d.attempt_id join subscription s on s.id = a.subscription_id
       order by d.opened_at`,
    );
    return rows.map(({ id, subscription, blocked, amount }) => [id, subscription, blocked, amount]);
  };
  const id = double.dispute(intentOf(disputed));
  const inquiryId = double.dispute(intentOf(asked), 'inquiry');
  await pass(world, '25 hours');
  const first = [id, disputed.subscriptionId, true, '29900'];
  await waitUntil('the dispute is found', async () => (await disputes()).length > 0);
  t.deepEqual(await disputes(), [first], 'a question moves no money');

  await pass(world, '20 days');
  await waitUntil('all is looked at', async () => {
    const [row] = await world.query(`select looked_until = business_now() as done from dispute_look`);
    return row!['done'] === true;
  });
  double.escalate(inquiryId);
  await pass(world, '25 hours');
  await waitUntil('the other one is found', async () => (await disputes()).length > 1);
  t.deepEqual(await disputes(), [first, [inquiryId, asked.subscriptionId, true, '29900']]);
});
