import { randomUUID } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import { startStripeDouble } from '../../../local/stripe-double/server.ts';
import { smokePage, smokeRequest } from '../../../testing/smoke-page.ts';
import type { ListedPayment } from '../../provider.ts';
import { createStripeClient } from './stripe-http.ts';
import { createStripeProvider } from './stripe-provider.ts';

/**
 * A card's life without a browser: test methods of Stripe's stand for what a customer types. Always against the double;
 * also against Stripe's test mode where STRIPE_TEST_KEY is set.
 */
interface Target {
  readonly apiKey: string;
  readonly baseUrl: string;
}

const callDeadlineMs = 20_000;
const amount = { currencyCode: 'EUR', amountMinor: 59_900n };

function providerOf(target: Target) {
  const returnUrl = 'https://cinema.example/account';
  const account = 'acct_smoke';
  return createStripeProvider({ ...target, account, webhookSecrets: ['whsec_smoke'], returnUrl, callDeadlineMs });
}

async function saveCard(target: Target, testMethod: string) {
  const stripe = createStripeClient({ ...target, callDeadlineMs });
  const { id: providerCustomerId } = await stripe.customers.create({ description: 'Smoke test' });
  const { id: providerMethodId } = await stripe.paymentMethods.attach(testMethod, { customer: providerCustomerId });
  return { providerCustomerId, providerMethodId };
}

function chargeOf(method: { providerCustomerId: string; providerMethodId: string }) {
  const reference = randomUUID();
  return { idempotencyKey: `pay_${reference}_1`, reference, amount, description: 'Smoke test', ...method };
}

async function smokeCard(t: ExecutionContext, target: Target): Promise<void> {
  const provider = providerOf(target);
  const card = await saveCard(target, 'pm_card_visa');
  const request = chargeOf(card);
  const charged = await provider.charge(request);
  t.like(charged, { kind: 'succeeded', amount, method: { brand: 'visa', last4: '4242', ...card } });
  t.deepEqual(await provider.charge(request), charged, 'the same key charges once');
  const providerPaymentId = charged.providerPaymentId!;
  t.deepEqual(await provider.lookUp({ providerPaymentId, reference: request.reference }), charged);

  const refund = { reference: randomUUID(), providerPaymentId, amount: { ...amount, amountMinor: 9_900n } };
  const asked = { ...refund, idempotencyKey: `rfd_${refund.reference}` };
  const { providerRefundId, kind } = await provider.refund(asked);
  t.true(kind === 'succeeded' || kind === 'pending', kind);
  t.is((await provider.refund(asked)).providerRefundId, providerRefundId, 'the same key gives back once');
  t.is((await provider.lookUpRefund(refund))?.providerRefundId, providerRefundId, 'found by our reference');
  const listed = await findListed(provider, providerPaymentId);
  t.like(listed, { reference: request.reference, status: 'succeeded', amount, refundedMinor: 9_900n });

  const empty = await provider.charge(chargeOf(await saveCard(target, 'pm_card_chargeCustomerFail')));
  t.is(empty.kind, 'declined');
  await provider.detachMethod(card);
  const gone = { kind: 'declined', declineCode: 'payment_method_detached', hard: true } as const;
  t.like(await provider.charge(chargeOf(card)), gone);
}

async function findListed(provider: ReturnType<typeof providerOf>, id: string): Promise<ListedPayment | undefined> {
  const now = Temporal.Now.instant();
  const span = { from: now.subtract({ minutes: 30 }), to: now.add({ minutes: 5 }) };
  let cursor: string | undefined;
  for (let page = 0; page < 50; page++) {
    const { payments, nextCursor } = await provider.listPayments({ ...span, cursor });
    const found = payments.find(({ providerPaymentId }) => providerPaymentId === id);
    if (found || nextCursor === undefined) return found;
    cursor = nextCursor;
  }
  return undefined;
}

function smoke(name: string, targetOf: () => Target): void {
  test.serial(`${name}: a page opens once per key, is found and closed`, async (t) => {
    await smokePage(t, providerOf(targetOf()), smokeRequest(amount));
  });
  test.serial(`${name}: a card is charged once, partly given back, declined, forgotten`, async (t) => {
    await smokeCard(t, targetOf());
  });
}

const double = await startStripeDouble();
test.after.always(() => double.close());
smoke('the double', () => ({ apiKey: double.apiKey, baseUrl: double.url }));

const apiKey = process.env['STRIPE_TEST_KEY'];
if (apiKey !== undefined) {
  if (!/^[rs]k_test_/.test(apiKey)) throw new Error('STRIPE_TEST_KEY is no key of the test mode');
  smoke('Stripe’s test mode', () => ({ apiKey, baseUrl: 'https://api.stripe.com' }));
}
