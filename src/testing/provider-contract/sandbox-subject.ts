import { signatureOf } from '../../local/payment-system/webhooks.ts';
import { createSandboxProvider } from '../../payments/providers/sandbox/sandbox-provider.ts';
import { startPaymentSystem } from '../payment-system.ts';
import { startWebhookReceiver } from '../webhook-receiver.ts';
import type { CardKind, ContractSubject } from './subject.ts';

const cards: Record<CardKind, string> = {
  good: '4242424242424242',
  'no funds later': '4000000000000341',
  'stolen later': '4000000000009979',
};

/** The sandbox payment system as a process, ready for the contract; `stop` ends it. */
export async function startSandboxSubject(): Promise<{ subject: ContractSubject; stop: () => Promise<void> }> {
  const receiver = await startWebhookReceiver();
  const system = await startPaymentSystem({ webhookUrl: receiver.url });
  const subject: ContractSubject = {
    url: system.url,
    currencyCode: 'RUB',
    build: ({ url = system.url, callDeadlineMs, wrongSecrets = false } = {}) =>
      createSandboxProvider({
        baseUrl: url,
        apiKey: wrongSecrets ? 'wrong' : system.apiKey,
        webhookSecrets: [wrongSecrets ? 'wrong' : system.webhookSecret],
        ...(callDeadlineMs !== undefined && { callDeadlineMs }),
      }),
    async pay(pageUrl, card) {
      await system.pay(pageUrl, cards[card]);
    },
    async bookOf(reference) {
      const taken = (await system.payments()).filter(
        (payment) => payment.reference === reference && payment.status === 'succeeded',
      );
      const sum = (field: 'amount_minor' | 'refunded_minor') =>
        taken.reduce((total, payment) => total + BigInt(payment[field]), 0n);
      return { chargeCount: taken.length, takenMinor: sum('amount_minor'), returnedMinor: sum('refunded_minor') };
    },
    withOtherAmount: (answer) =>
      answer.replaceAll(/"amount_minor":"(\d+)"/g, (_, minor: string) => `"amount_minor":"${BigInt(minor) + 1n}"`),
    dispute: ({ providerPaymentId }) => system.dispute(providerPaymentId),
    noticeOf({ providerPaymentId, reference }, ageS = 0) {
      const payment = { id: providerPaymentId, reference };
      const body = JSON.stringify({ id: `evt_${reference}`, type: 'payment.succeeded', data: { payment } });
      const signature = signatureOf(system.webhookSecret, Math.floor(Date.now() / 1_000) - ageS, body);
      return { raw: Buffer.from(body), headers: { 'sandbox-signature': signature }, remoteAddress: '127.0.0.1' };
    },
  };
  return {
    subject,
    stop: async () => {
      await system.stop();
      await receiver.close();
    },
  };
}
