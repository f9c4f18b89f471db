import type { Stripe } from 'stripe';
import { OutcomeUnknown, RequestRefused, type PaymentProvider } from '../../provider.ts';
import { callStripe, findInStripe } from './stripe-http.ts';
import { readIntent, readSession, type Expected, type KnownOutcome } from './stripe-payment.ts';

export const expandIntent = ['payment_method', 'latest_charge'];
export const expandSession = [
  'payment_intent.payment_method',
  'payment_intent.latest_charge',
  'setup_intent.payment_method',
];
const pageSize = 100;
const searchResultsMax = 100;
/** Stripe closes a page after a day; an hour for clocks that differ. */
const pageLifeS = 25 * 3_600;
const pagesMax = 50;

/**
 * Looks payments up: by id exactly, by reference as Stripe can. Intents are searched by metadata, and a new one is
 * found only after a minute or so; pages cannot be searched, so those of the last day are read, newest first.
 */
export function lookUpCall(stripe: Stripe): PaymentProvider['lookUp'] {
  return async ({ providerPaymentId: id, reference }) => {
    if (id?.startsWith('cs_')) return lookUpSession(stripe, id, reference);
    if (id?.startsWith('pi_')) {
      const intent = await findInStripe(() => stripe.paymentIntents.retrieve(id, { expand: expandIntent }));
      return intent && readIntent(intent, expected(id, reference));
    }
    if (reference === undefined) throw new RequestRefused('neither a payment nor a page of Stripe’s');
    return (await searchIntents(stripe, reference)) ?? (await searchSessions(stripe, reference));
  };
}

async function lookUpSession(
  stripe: Stripe,
  id: string,
  reference: string | undefined,
): Promise<KnownOutcome | undefined> {
  const session = await findInStripe(() => stripe.checkout.sessions.retrieve(id, { expand: expandSession }));
  return session && readSession(session, expected(id, reference));
}

function expected(id: string, reference: string | undefined): Expected {
  return { id, ...(reference !== undefined && { reference }) };
}

async function searchIntents(stripe: Stripe, reference: string): Promise<KnownOutcome | undefined> {
  if (!/^[\w-]{1,128}$/.test(reference)) throw new RequestRefused('a reference that cannot be searched for');
  const query = `metadata["reference"]:"${reference}"`;
  const { data, has_more: hasMore } = await callStripe(() =>
    stripe.paymentIntents.search({
      query,
      limit: searchResultsMax,
      expand: expandIntent.map((path) => `data.${path}`),
    }),
  );
  if (hasMore) throw new OutcomeUnknown('too many payments with one reference');
  const found = await Promise.all(
    data
      .filter(({ metadata }) => metadata['reference'] === reference)
      .map(async (intent) => {
        if (intent.metadata['via'] !== 'page') return readIntent(intent, { reference });
        const pages = await callStripe(() => stripe.checkout.sessions.list({ payment_intent: intent.id, limit: 1 }));
        const page = pages.data[0];
        if (page === undefined) throw new OutcomeUnknown('Stripe has a payment of a page, and not the page');
        return lookUpSession(stripe, page.id, reference);
      }),
  );
  // Should there ever be more than one, the one with the money counts.
  return found.find((outcome) => outcome?.kind === 'succeeded') ?? found[0];
}

async function searchSessions(stripe: Stripe, reference: string): Promise<KnownOutcome | undefined> {
  const created = { gte: Math.floor(Date.now() / 1000) - pageLifeS };
  let after: string | undefined;
  for (let page = 0; page < pagesMax; page++) {
    const from = after === undefined ? {} : { starting_after: after };
    const { data, has_more: hasMore } = await callStripe(() =>
      stripe.checkout.sessions.list({ created, limit: pageSize, ...from }),
    );
    const found = data.find(({ metadata }) => metadata?.['reference'] === reference);
    if (found !== undefined) return lookUpSession(stripe, found.id, reference);
    if (!hasMore) return undefined;
    after = data.at(-1)?.id;
  }
  throw new OutcomeUnknown('too many pages in a day to say that one is not there');
}
