import test from 'ava';
import { startYookassaDouble } from '../../../local/yookassa-double/server.ts';
import { smokePage, smokeRequest } from '../../../testing/smoke-page.ts';
import { createYookassaProvider } from './yookassa-provider.ts';

/**
 * What YooKassa shows without a person on its page. Always against the double; also against a test shop where
 * YOOKASSA_TEST_SHOP is set, `<shop id>:<secret key>`.
 */
interface Target {
  readonly shopId: string;
  readonly secretKey: string;
  readonly baseUrl: string;
}

function smoke(name: string, targetOf: () => Target): void {
  test.serial(`${name}: a page opens once per key, is found, and is on the list`, async (t) => {
    const returnUrl = 'https://cinema.example/account';
    const provider = createYookassaProvider({ ...targetOf(), returnUrl, noticeAddresses: ['any'] });
    const request = smokeRequest({ currencyCode: 'RUB', amountMinor: 59_900n });
    await smokePage(t, provider, request);
    const now = Temporal.Now.instant();
    const span = { from: now.subtract({ minutes: 30 }), to: now.add({ minutes: 5 }) };
    const { payments } = await provider.listPayments(span);
    const listed = payments.find(({ reference }) => reference === request.reference);
    t.like(listed, { status: 'waiting', amount: request.amount, refundedMinor: 0n });
  });
}

const double = await startYookassaDouble();
test.after.always(() => double.close());
smoke('the double', () => ({ shopId: double.shopId, secretKey: double.secretKey, baseUrl: double.url }));

const shop = process.env['YOOKASSA_TEST_SHOP'];
if (shop !== undefined) {
  const [, shopId, secretKey] = /^([0-9]+):(test_\S+)$/.exec(shop) ?? [];
  if (shopId === undefined) throw new Error('YOOKASSA_TEST_SHOP is not a test shop: <shop id>:test_…');
  smoke('a test shop', () => ({ shopId, secretKey: secretKey!, baseUrl: 'https://api.yookassa.ru/v3' }));
}
