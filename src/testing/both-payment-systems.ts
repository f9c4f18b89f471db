import { randomUUID } from 'node:crypto';
import type { ExecutionContext } from 'ava';
import type { DoubleCard } from '../local/double/cards.ts';
import type { StripeDouble } from '../local/stripe-double/server.ts';
import type { YookassaDouble } from '../local/yookassa-double/server.ts';
import type { RawNotice } from '../payments/provider.ts';
import { startStripeSubject } from './provider-contract/stripe-subject.ts';
import type { ContractSubject } from './provider-contract/subject.ts';
import { startYookassaSubject } from './provider-contract/yookassa-subject.ts';
import { waitUntil } from './wait-until.ts';
import { startWorld, type World } from './world.ts';

const returnUrl = 'https://cinema.example/account';

/** A double in this process: its books and calls are seen, and it tells nobody anything unless a test does. */
export interface PaymentSystemOf<Double extends StripeDouble | YookassaDouble> {
  /** As in the configuration, and on the path of its notices. */
  readonly name: 'stripe' | 'yookassa';
  readonly subject: ContractSubject;
  readonly double: Double;
}

export type EitherSystem = PaymentSystemOf<StripeDouble | YookassaDouble>;

/** A service that charges through both: euros through Stripe, roubles through YooKassa. */
export interface WorldOfBoth {
  readonly world: World;
  readonly stripe: PaymentSystemOf<StripeDouble>;
  readonly yookassa: PaymentSystemOf<YookassaDouble>;
  /** A price of the basic plan in euros: 4.99 a month. */
  readonly euros: string;
  readonly at: Temporal.Instant;
}

/** A viewer who has paid. */
export interface PaidViewer {
  readonly userId: string;
  readonly subscriptionId: string;
  readonly token: string;
  /** The attempt of the first payment. */
  readonly reference: string;
  readonly providerPaymentId: string;
}

/** Starts it for one test; the business clock stands at `at` until the test moves it. */
export async function startBoth(t: ExecutionContext, at = Temporal.Now.instant()): Promise<WorldOfBoth> {
  const [stripe, yookassa] = [await startStripeSubject(), await startYookassaSubject()];
  const env = {
    PAYMENT_PROVIDER: 'stripe,yookassa',
    PAYMENT_PROVIDER_BY_CURRENCY: 'RUB:yookassa',
    STRIPE_API_URL: stripe.double.url,
    STRIPE_API_KEY: stripe.double.apiKey,
    STRIPE_ACCOUNT: 'acct_double',
    STRIPE_WEBHOOK_SECRET: stripe.double.webhookSecret,
    STRIPE_RETURN_URL: returnUrl,
    YOOKASSA_API_URL: yookassa.double.url,
    YOOKASSA_SHOP_ID: yookassa.double.shopId,
    YOOKASSA_SECRET_KEY: yookassa.double.secretKey,
    YOOKASSA_RETURN_URL: returnUrl,
    YOOKASSA_NOTICE_ADDRESSES: '127.0.0.1',
  };
  const world = await startWorld({ at: at.toString(), env });
  t.teardown(async () => {
    await world.stop();
    await Promise.all([stripe.double.close(), yookassa.double.close()]);
  });
  const euros = await addPrice(world, world.prices.basic, 'EUR', 499);
  return { world, stripe: { name: 'stripe', ...stripe }, yookassa: { name: 'yookassa', ...yookassa }, euros, at };
}

/** Another monthly price of the plan that has this one. */
export async function addPrice(
  world: World,
  priceId: string,
  currencyCode: string,
  amountMinor: number,
): Promise<string> {
  const id = randomUUID();
  await world.query(
    `insert into price (id, plan_id, currency_code, amount_minor, interval_unit, interval_count, created_at)
     select $1, plan_id, $3, $4, 'month', 1, '2027-01-01' from price where id = $2`,
    [id, priceId, currencyCode, amountMinor],
  );
  return id;
}

/** Posts a notice where the payment system of that name would. */
export function sendNotice(world: World, name: string, notice: RawNotice): Promise<Response> {
  return fetch(`${world.service.httpUrl}/v1/webhooks/${name}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(notice.headers as Record<string, string>) },
    body: Buffer.from(notice.raw),
  });
}

/** Subscribes, pays on the page with a card that behaves like that later, and lets the notice activate it. */
export async function takeOut(
  world: World,
  priceId: string,
  { name, subject, double }: EitherSystem,
  card: DoubleCard = 'good',
): Promise<PaidViewer> {
  const { subscriptions } = world.clients();
  const userId = randomUUID();
  const token = await world.auth.token({ sub: userId });
  const { subscription, checkout } = await subscriptions.subscribe({ requestId: randomUUID(), priceId }, { token });
  const subscriptionId = subscription!.id;
  double.pay(checkout!.url, card);
  const [attempt] = await world.query(
    `select id, provider_payment_id from payment_attempt where subscription_id = $1`,
    [subscriptionId],
  );
  const [reference, providerPaymentId] = [String(attempt!['id']), String(attempt!['provider_payment_id'])];
  const answer = await sendNotice(world, name, subject.noticeOf({ providerPaymentId, reference }));
  if (answer.status !== 200) throw new Error(`the notice was answered with ${answer.status}`);
  await waitUntil('the notice activates the subscription', async () => {
    const [row] = await world.query(`select status from subscription where id = $1`, [subscriptionId]);
    return row?.['status'] === 'ACTIVE';
  });
  subscriptions.close();
  return { userId, subscriptionId, token, reference, providerPaymentId };
}

/** The attempts of a viewer's payments for such a purpose, a LIKE pattern, oldest first. */
export const attemptsOf = (world: World, viewer: Pick<PaidViewer, 'subscriptionId'>, like: string) =>
  world.query(
    `select a.id::text as id, a.provider, a.merchant_account as account, a.state, a.provider_payment_id as payment
     from payment_attempt a join payment p on p.id = a.payment_id
     where a.subscription_id = $1 and p.purpose like $2 order by a.created_at, a.id`,
    [viewer.subscriptionId, like],
  );
