import type { Stripe } from 'stripe';
import { OutcomeUnknown, RequestRefused, type ListedPayment, type PaymentProvider } from '../../provider.ts';
import { callStripe } from './stripe-http.ts';
import { moneyOf, refundedOf } from './stripe-payment.ts';

const pageSize = 100;

/**
 * Every payment begun in a span of time. Stripe keeps pages and intents apart: first the pages, each with the money of
 * its intent, then the intents that belong to no page. A cursor is `page:<last id>` or `intent:<last id>`.
 */
export function listPaymentsCall(stripe: Stripe): PaymentProvider['listPayments'] {
  return async ({ from, to, cursor = 'page:' }) => {
    const [, phase, last] = /^(page|intent):([\w-]*)$/.exec(cursor) ?? [];
    if (phase === undefined) throw new RequestRefused('a cursor that is none of ours');
    const query = { created: createdWithin(from, to), limit: pageSize, ...(last && { starting_after: last }) };
    if (phase === 'page') {
      const expand = ['data.payment_intent.latest_charge'];
      const { data, has_more: hasMore } = await callStripe(() => stripe.checkout.sessions.list({ ...query, expand }));
      const payments = data.filter(({ mode }) => mode === 'payment').map((session) => read(() => sessionLine(session)));
      return { payments, nextCursor: hasMore ? `page:${data.at(-1)!.id}` : 'intent:' };
    }
    const expand = ['data.latest_charge'];
    const { data, has_more: hasMore } = await callStripe(() => stripe.paymentIntents.list({ ...query, expand }));
    const payments = data
      .filter(({ metadata }) => metadata['via'] !== 'page')
      .map((intent) => read(() => intentLine(intent)));
    return { payments, nextCursor: hasMore ? `intent:${data.at(-1)!.id}` : undefined };
  };
}

function sessionLine(session: Stripe.Checkout.Session): ListedPayment {
  const { id, metadata, created, status } = session;
  const intent = typeof session.payment_intent === 'object' ? session.payment_intent : null;
  const ended = status === 'expired' ? 'dead' : 'waiting';
  return {
    providerPaymentId: id,
    reference: metadata?.['reference'] ?? '',
    status: session.payment_status === 'paid' ? 'succeeded' : ended,
    amount: moneyOf(session.amount_total, session.currency),
    refundedMinor: refundedOf(intent),
    createdAt: Temporal.Instant.fromEpochMilliseconds(created * 1000),
  };
}

function intentLine(intent: Stripe.PaymentIntent): ListedPayment {
  return {
    providerPaymentId: intent.id,
    reference: intent.metadata['reference'] ?? '',
    status: statusOf(intent.status),
    amount: moneyOf(intent.status === 'succeeded' ? intent.amount_received : intent.amount, intent.currency),
    refundedMinor: refundedOf(intent),
    createdAt: Temporal.Instant.fromEpochMilliseconds(intent.created * 1000),
  };
}

function statusOf(status: Stripe.PaymentIntent.Status): ListedPayment['status'] {
  if (status === 'succeeded') return 'succeeded';
  if (status === 'canceled') return 'dead';
  return status === 'requires_payment_method' ? 'declined' : 'waiting';
}

function read(line: () => ListedPayment): ListedPayment {
  try {
    return line();
  } catch (cause) {
    throw new OutcomeUnknown('Stripe lists something that is not a payment', { cause });
  }
}

/** A span as Stripe's lists take it: Stripe counts whole seconds. */
export function createdWithin(from: Temporal.Instant, to: Temporal.Instant): { gte: number; lt: number } {
  return { gte: wholeSecondsUp(from), lt: wholeSecondsUp(to) };
}

const wholeSecondsUp = (instant: Temporal.Instant) => Math.ceil(instant.epochMilliseconds / 1000);
