import type { Stripe } from 'stripe';
import {
  OutcomeUnknown,
  RequestRefused,
  type ChargeRequest,
  type CheckoutRequest,
  type MethodOfCustomer,
  type PaymentProvider,
} from '../../provider.ts';
import { listDisputesCall, lookUpDisputeCall } from './stripe-disputes.ts';
import { callStripe, createStripeClient, findInStripe, isCardError } from './stripe-http.ts';
import { listPaymentsCall } from './stripe-list.ts';
import { expandIntent, expandSession, lookUpCall } from './stripe-look-up.ts';
import { pageUrlOf, readDecline, readIntent, readSession, stripeAmount, type KnownOutcome } from './stripe-payment.ts';
import { refundCalls } from './stripe-refunds.ts';
import { authenticate, readNotice } from './stripe-webhook.ts';

export interface StripeProviderOptions {
  /** The account's secret key, `sk_…` or a restricted one, `rk_…`. */
  readonly apiKey: string;
  /** The account that the key belongs to, `acct_…`. */
  readonly account: string;
  /** `whsec_…`; one, or two while the secret is being changed. */
  readonly webhookSecrets: readonly string[];
  /** Where Stripe sends a customer when nobody said where: after a page, and after a confirmation. */
  readonly returnUrl: string;
  readonly baseUrl?: string;
  readonly callDeadlineMs?: number;
}

const hourMs = 3_600_000;
const callDeadlineDefaultMs = 15_000;
const webhookSecretsMax = 2;
const cards: ['card'] = ['card'];

/** Of the currencies that its table of minimum charges names and that are sold in most; minor units. */
const minimumAmounts: Readonly<Record<string, bigint>> = {
  AUD: 50n,
  CAD: 50n,
  CHF: 50n,
  EUR: 50n,
  GBP: 30n,
  JPY: 50n,
  PLN: 200n,
  USD: 50n,
};

/** Builds the provider; it connects with the first call. Throws when the options cannot work. */
export function createStripeProvider(options: StripeProviderOptions): PaymentProvider {
  const { webhookSecrets, apiKey, returnUrl } = options;
  if (webhookSecrets.length < 1 || webhookSecrets.length > webhookSecretsMax || webhookSecrets.includes('')) {
    throw new Error(`the Stripe provider needs 1 to ${webhookSecretsMax} webhook secrets, none of them empty`);
  }
  if (pageUrlOf(returnUrl) === undefined) throw new Error('the Stripe provider needs an address to return to');
  const callDeadlineMs = options.callDeadlineMs ?? callDeadlineDefaultMs;
  const stripe = createStripeClient({
    apiKey,
    baseUrl: options.baseUrl ?? 'https://api.stripe.com',
    callDeadlineMs,
  });

  return {
    name: 'stripe',
    merchantAccount: options.account,
    capabilities: {
      idempotencyWindowMs: 24 * hourMs,
      lookUpByReference: true,
      canCancelPending: true,
      canCloseCheckout: true,
      canDetachMethod: true,
      reportsDisputes: true,
      fiscalizes: undefined,
      takesCurrency: (currencyCode) => stripeAmount({ currencyCode, amountMinor: 1n }) !== undefined,
      checkoutTtlMs: 24 * hourMs,
      maxConcurrency: 16,
      callDeadlineMs,
      minimumAmountMinor: (currencyCode) => minimumAmounts[currencyCode] ?? 1n,
    },
    startCheckout: (request) => startCheckout(stripe, request, returnUrl),
    expireCheckout: (id) => expireCheckout(stripe, id),
    charge: (request) => charge(stripe, request, returnUrl),
    cancelPending: (id) => cancelPending(stripe, id),
    detachMethod: (method) => detachMethod(stripe, method),
    ...refundCalls(stripe),
    lookUpReceipt: () => Promise.reject(new RequestRefused('Stripe issues no receipts')),
    lookUpDispute: lookUpDisputeCall(stripe),
    listDisputes: listDisputesCall(stripe),
    lookUp: lookUpCall(stripe),
    listPayments: listPaymentsCall(stripe),
    authenticateWebhook(notice) {
      authenticate(stripe, notice, webhookSecrets);
      return 'signed';
    },
    readWebhook: (raw) => readNotice(raw, /^[sr]k_live_/.test(apiKey)),
  };
}

/** The parameters hold no time: a repeat has to be the same to the letter. Stripe closes the page after a day. */
async function startCheckout(stripe: Stripe, request: CheckoutRequest, returnUrl: string) {
  const { mode, idempotencyKey, reference, description, customerReference } = request;
  const metadata = { reference, via: 'page', customer: customerReference };
  const session = await callStripe(() =>
    stripe.checkout.sessions.create(
      {
        mode,
        client_reference_id: reference,
        metadata,
        customer_creation: 'always',
        allowed_payment_method_types: cards,
        success_url: request.returnUrl || returnUrl,
        cancel_url: request.returnUrl || returnUrl,
        ...(mode === 'setup'
          ? { setup_intent_data: { metadata, description } }
          : {
              line_items: [lineOf(request)],
              payment_intent_data: { metadata, description, setup_future_usage: 'off_session' as const },
            }),
      },
      { idempotencyKey },
    ),
  );
  const { providerPaymentId } = readSession(session, { reference });
  const url = pageUrlOf(session.url);
  if (url === undefined || !Number.isSafeInteger(session.expires_at)) {
    throw new OutcomeUnknown('Stripe opened a page without an address or an end');
  }
  return { providerPaymentId, url, expiresAt: Temporal.Instant.fromEpochMilliseconds(session.expires_at * 1000) };
}

function lineOf(request: CheckoutRequest): Stripe.Checkout.SessionCreateParams.LineItem {
  const { amount, currency } = amountOf(request);
  return { quantity: 1, price_data: { currency, unit_amount: amount, product_data: { name: request.description } } };
}

async function expireCheckout(stripe: Stripe, id: string): Promise<KnownOutcome> {
  // A page that is not open cannot be closed: what became of it is read instead.
  await callStripe(() => stripe.checkout.sessions.expire(id)).catch((error: unknown) => {
    if (!(error instanceof RequestRefused)) throw error;
  });
  const session = await findInStripe(() => stripe.checkout.sessions.retrieve(id, { expand: expandSession }));
  if (session === undefined) throw new RequestRefused('Stripe has no such page');
  const outcome = readSession(session, { id });
  if (outcome.kind !== 'waiting') return outcome;
  throw new OutcomeUnknown('the page was to be closed and is not');
}

async function charge(stripe: Stripe, request: ChargeRequest, returnUrl: string): Promise<KnownOutcome> {
  const { idempotencyKey, reference, description, providerCustomerId, providerMethodId } = request;
  const parameters: Stripe.PaymentIntentCreateParams = {
    ...amountOf(request),
    customer: providerCustomerId,
    payment_method: providerMethodId,
    allowed_payment_method_types: cards,
    off_session: true,
    confirm: true,
    description,
    metadata: { reference },
    expand: expandIntent,
  };
  try {
    const intent = await callStripe(() => stripe.paymentIntents.create(parameters, { idempotencyKey }));
    return readIntent(intent, { reference });
  } catch (error) {
    if (error instanceof RequestRefused && (await isMethodGone(stripe, request))) {
      // Stripe begins no payment without a method: there is none to name.
      const providerPaymentId = `none_${reference}`;
      return { kind: 'declined', providerPaymentId, declineCode: 'payment_method_detached', hard: true };
    }
    if (!isCardError(error)) throw error;
    const declined = readDecline(error, { reference });
    const needsCustomer = declined.kind === 'declined' && declined.declineCode === 'authentication_required';
    return needsCustomer ? askCustomer(stripe, request, declined.providerPaymentId, returnUrl) : declined;
  }
}

/**
 * The bank wants to hear from the customer: the same payment is confirmed again as if the customer were here, which
 * gives the address where the bank asks. Its key is derived, so that a repeat of the charge asks once.
 */
async function askCustomer(
  stripe: Stripe,
  { idempotencyKey, reference, providerMethodId }: ChargeRequest,
  id: string,
  returnUrl: string,
): Promise<KnownOutcome> {
  const parameters = { payment_method: providerMethodId, return_url: returnUrl, expand: expandIntent };
  const options = { idempotencyKey: `${idempotencyKey}:confirm` };
  try {
    const intent = await callStripe(() => stripe.paymentIntents.confirm(id, parameters, options));
    return readIntent(intent, { id, reference });
  } catch (error) {
    if (isCardError(error)) return readDecline(error, { id, reference });
    // The payment exists by now, so a refusal of this step is no proof that nothing happened.
    throw new OutcomeUnknown('Stripe wants the customer, and could not be asked where', { cause: error });
  }
}

async function cancelPending(stripe: Stripe, id: string): Promise<KnownOutcome> {
  await callStripe(() => stripe.paymentIntents.cancel(id)).catch((error: unknown) => {
    if (!(error instanceof RequestRefused)) throw error;
  });
  const intent = await findInStripe(() => stripe.paymentIntents.retrieve(id, { expand: expandIntent }));
  if (intent === undefined) throw new RequestRefused('Stripe has no such payment');
  return readIntent(intent, { id });
}

async function detachMethod(stripe: Stripe, method: MethodOfCustomer): Promise<void> {
  if (await isMethodGone(stripe, method)) return;
  await callStripe(() => stripe.paymentMethods.detach(method.providerMethodId));
}

/** Whether the customer no longer has the method, whatever Stripe's message for it is. */
async function isMethodGone(
  stripe: Stripe,
  { providerMethodId, providerCustomerId }: MethodOfCustomer,
): Promise<boolean> {
  const method = await findInStripe(() => stripe.paymentMethods.retrieve(providerMethodId));
  const owner = method?.customer ?? undefined;
  return (typeof owner === 'object' ? owner.id : owner) !== providerCustomerId;
}

function amountOf({ amount }: CheckoutRequest | ChargeRequest): { amount: number; currency: string } {
  const money = stripeAmount(amount);
  if (money === undefined) throw new RequestRefused('an amount that Stripe cannot take');
  return money;
}
