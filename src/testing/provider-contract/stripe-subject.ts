import { createStripeProvider } from '../../payments/providers/stripe/stripe-provider.ts';
import { startStripeDouble, type StripeDouble } from '../../local/stripe-double/server.ts';
import type { ContractSubject } from './subject.ts';

/** Our Stripe double, ready for the contract. */
export async function startStripeSubject(): Promise<{ subject: ContractSubject; double: StripeDouble }> {
  const double = await startStripeDouble();
  const subject: ContractSubject = {
    url: double.url,
    currencyCode: 'EUR',
    build: ({ url = double.url, callDeadlineMs, wrongSecrets = false } = {}) =>
      createStripeProvider({
        baseUrl: url,
        apiKey: wrongSecrets ? 'sk_test_wrong' : double.apiKey,
        account: 'acct_double',
        webhookSecrets: [wrongSecrets ? 'whsec_wrong' : double.webhookSecret],
        returnUrl: 'https://cinema.example/account',
        ...(callDeadlineMs !== undefined && { callDeadlineMs }),
      }),
    async pay(pageUrl, card) {
      double.pay(pageUrl, card);
    },
    async bookOf(reference) {
      const intents = double
        .objects('payment_intent')
        .filter(({ metadata }) => (metadata as Record<string, string>)['reference'] === reference);
      const charges = double
        .objects('charge')
        .filter((charge) => intents.some(({ id }) => id === charge['payment_intent']));
      const sum = (field: string) => charges.reduce((total, charge) => total + BigInt(Number(charge[field])), 0n);
      return { chargeCount: charges.length, takenMinor: sum('amount'), returnedMinor: sum('amount_refunded') };
    },
    withOtherAmount: (answer) =>
      answer.replaceAll(/"(amount\w*)":(\d+)/g, (_, name: string, minor: string) => `"${name}":${Number(minor) + 1}`),
    async dispute({ reference }) {
      const intent = double
        .objects('payment_intent')
        .find(({ metadata }) => (metadata as Record<string, string>)['reference'] === reference);
      return double.dispute(intent!.id);
    },
    noticeOf({ providerPaymentId }, ageS) {
      const type = providerPaymentId.startsWith('cs_') ? 'checkout.session.completed' : 'payment_intent.succeeded';
      return { ...double.event(type, providerPaymentId, ageS), remoteAddress: '127.0.0.1' };
    },
  };
  return { subject, double };
}
