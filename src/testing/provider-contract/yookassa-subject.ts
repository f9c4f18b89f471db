import { createYookassaProvider } from '../../payments/providers/yookassa/yookassa-provider.ts';
import { kopecks } from '../../local/yookassa-double/shop.ts';
import { startYookassaDouble, type YookassaDouble } from '../../local/yookassa-double/server.ts';
import type { ContractSubject } from './subject.ts';

/** Our YooKassa double, ready for the contract. */
export async function startYookassaSubject(): Promise<{ subject: ContractSubject; double: YookassaDouble }> {
  const double = await startYookassaDouble();
  const subject: ContractSubject = {
    url: double.url,
    currencyCode: 'RUB',
    build: ({ url = double.url, callDeadlineMs, wrongSecrets = false } = {}) =>
      createYookassaProvider({
        baseUrl: url,
        shopId: double.shopId,
        secretKey: wrongSecrets ? 'wrong' : double.secretKey,
        returnUrl: 'https://cinema.example/account',
        noticeAddresses: ['127.0.0.1'],
        ...(callDeadlineMs !== undefined && { callDeadlineMs }),
      }),
    async pay(pageUrl, card) {
      double.pay(pageUrl, card);
    },
    async bookOf(reference) {
      const taken = [...double.shop.payments.values()].filter(
        ({ status, metadata }) =>
          status === 'succeeded' && (metadata as Record<string, string>)['reference'] === reference,
      );
      const sum = (field: string) =>
        taken.reduce((total, payment) => total + kopecks(payment[field] ?? { value: '0.00' }), 0n);
      return { chargeCount: taken.length, takenMinor: sum('amount'), returnedMinor: sum('refunded_amount') };
    },
    withOtherAmount: (answer) => answer.replaceAll(/"value":"(\d+)\.(\d\d)"/g, '"value":"1$1.$2"'),
    noticeOf({ providerPaymentId }) {
      const object = double.shop.payments.get(providerPaymentId);
      const body = JSON.stringify({ type: 'notification', event: 'payment.succeeded', object });
      return { raw: Buffer.from(body), headers: {}, remoteAddress: '127.0.0.1' };
    },
  };
  return { subject, double };
}
