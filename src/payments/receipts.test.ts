import { randomUUID } from 'node:crypto';
import test from 'ava';
import { ReceiptState } from '@cinema-billing/gen/billing/admin/v1/payment_admin_service_pb.ts';
import { PaymentMethodService } from '@cinema-billing/gen/billing/v1/payment_method_service_pb.ts';
import { grpcClient, RpcError } from '../cli/grpc-client.ts';
import { startYookassaSubject } from '../testing/provider-contract/yookassa-subject.ts';
import { waitUntil } from '../testing/wait-until.ts';
import { startWorld, type World } from '../testing/world.ts';

const returnUrl = 'https://cinema.example/account';
const email = 'viewer@example.test';

let world: World;
let yookassa: Awaited<ReturnType<typeof startYookassaSubject>>;
let support: { token: string };
test.before(async () => {
  yookassa = await startYookassaSubject();
  const { double } = yookassa;
  double.shop.wantsReceipts = true;
  world = await startWorld({
    at: Temporal.Now.instant().toString(),
    env: {
      PAYMENT_PROVIDER: 'yookassa',
      YOOKASSA_API_URL: double.url,
      YOOKASSA_SHOP_ID: double.shopId,
      YOOKASSA_SECRET_KEY: double.secretKey,
      YOOKASSA_RETURN_URL: returnUrl,
      YOOKASSA_NOTICE_ADDRESSES: '127.0.0.1',
      YOOKASSA_RECEIPT_VAT_CODE: '4',
    },
  });
  support = { token: await world.auth.token({ sub: 'sasha', role: 'support' }) };
});
test.after.always(async () => {
  await world?.stop();
  await yookassa?.double.close();
});

/** The receipts of a viewer's payments, oldest first: what for, where they are. */
async function receiptsOf(userId: string) {
  const { paymentAdmin } = world.clients();
  const { payments } = await paymentAdmin.listPayments({ userId }, support);
  paymentAdmin.close();
  return payments.toReversed().flatMap(({ receipts }) => receipts);
}

/** A clock that the double's real payments do not need: only ours has to move. */
const pass = (span: string) => world.query(`update sandbox_clock set set_to = set_to + $1::interval`, [span]);

test.serial(
  'a charge, a renewal and a refund each have a receipt with frozen terms, which is followed until it is issued',
  async (t) => {
    const { subscriptions, paymentAdmin } = world.clients();
    const userId = randomUUID();
    const token = await world.auth.token({ sub: userId });
    const ask = { requestId: randomUUID(), priceId: world.prices.basic };
    const error = await t.throwsAsync(subscriptions.subscribe(ask, { token }), { instanceOf: RpcError });
    t.is(`${error!.code} ${error!.reason}`, 'FAILED_PRECONDITION CONTACT_REQUIRED');

    const consent = { textVersion: '2026-11', ipAddress: '' };
    const wanted = { ...ask, requestId: randomUUID(), email, consent };
    const { subscription, checkout } = await subscriptions.subscribe(wanted, { token });
    await yookassa.subject.pay(checkout!.url, 'good');
    const [attempt] = await world.query(
      `select provider_payment_id as id from payment_attempt where subscription_id = $1`,
      [subscription!.id],
    );
    const notice = yookassa.subject.noticeOf({ providerPaymentId: String(attempt!['id']), reference: '' });
    await fetch(`${world.service.httpUrl}/v1/webhooks/yookassa`, { method: 'POST', body: Buffer.from(notice.raw) });
    await waitUntil('the subscription is active', async () => {
      const [row] = await world.query(`select status from subscription where id = $1`, [subscription!.id]);
      return row?.['status'] === 'ACTIVE';
    });
    // Another address from now on: what was frozen keeps the old one.
    await world.query(`update customer_contact set email = 'other@example.test' where user_id = $1`, [userId]);
    await pass('32 days');
    await waitUntil('the month is renewed', async () => {
      const [row] = await world.query(`select cycle from subscription where id = $1`, [subscription!.id]);
      return row?.['cycle'] === 1;
    });
    const { payments } = await paymentAdmin.listPayments({ userId }, support);
    const paymentId = payments[0]!.payment!.id;
    const amount = { currencyCode: 'RUB', amountMinor: 9_900n };
    await paymentAdmin.refundPayment({ requestId: randomUUID(), reason: 'asked', paymentId, amount }, support);
    await waitUntil('the refund is made', async () => {
      const [row] = await world.query(`select state from refund`);
      return row?.['state'] === 'SUCCEEDED';
    });

    const receipts = await receiptsOf(userId);
    t.deepEqual(
      receipts.map(({ contact, lineText, vatCode, paymentSubject, paymentMode, refundId }) => [
        contact,
        lineText,
        vatCode,
        paymentSubject,
        paymentMode,
        refundId === '' ? 'charge' : 'refund',
      ]),
      [
        [email, 'basic', 4, 'service', 'full_payment', 'charge'],
        ['other@example.test', 'basic', 4, 'service', 'full_payment', 'charge'],
        ['other@example.test', 'basic', 4, 'service', 'full_payment', 'refund'],
      ],
    );
    t.is(yookassa.double.shop.receipts.size, 3, 'the double refuses one over another amount than the money’s');

    yookassa.double.shop.register('succeeded');
    await pass('2 hours');
    await waitUntil('all are issued', async () =>
      (await receiptsOf(userId)).every(
        ({ state, fiscalDocument }) => state === ReceiptState.ISSUED && fiscalDocument !== '',
      ),
    );
    const told = await world.query(
      `select body -> 'receiptIssued' ->> 'fiscalDocument' as document from customer_notice where kind = 'receiptIssued'`,
    );
    t.is(told.length, 3);
    t.true(told.every(({ document }) => document !== null));
    const methods = grpcClient(PaymentMethodService, world.service.grpcAddress);
    const { paymentMethods } = await methods.listPaymentMethods({}, { token });
    t.is(paymentMethods[0]?.consentVersion, '2026-11');
    t.truthy(paymentMethods[0]?.consentedAt);
    const [kept] = await world.query(`select ip_address as ip, text_version as text from payment_consent`);
    t.like(kept, { ip: '127.0.0.1', text: '2026-11' });
    for (const client of [subscriptions, paymentAdmin, methods]) client.close();
  },
);

test.serial(
  'the receipt of a charge that was declined is void, and one that the register refuses needs a person',
  async (t) => {
    const [{ attempt_id: attemptId }] = (await world.query(
      `select attempt_id from receipt where refund_id is null order by id limit 1`,
    )) as [{ attempt_id: string }];
    await world.query(
      `update receipt set state = 'PENDING', settled_at = null, next_check_at = business_now() where attempt_id = $1`,
      [attemptId],
    );
    for (const receipt of yookassa.double.shop.receipts.values()) receipt.status = 'pending';
    yookassa.double.shop.register('canceled');
    await waitUntil('it is told of', async () => {
      const [row] = await world.query(`select state from receipt where attempt_id = $1`, [attemptId]);
      return row?.['state'] === 'FAILED' && world.service.log.some((line) => line.includes('a receipt was not issued'));
    });
    await world.query(`update payment_attempt set state = 'DECLINED' where id = $1`, [attemptId]);
    await world.query(
      `update receipt set state = 'PENDING', settled_at = null, next_check_at = business_now() where attempt_id = $1`,
      [attemptId],
    );
    const state = await waitUntil('it is settled', async () => {
      const [row] = await world.query(`select state from receipt where attempt_id = $1`, [attemptId]);
      return row?.['state'] === 'PENDING' ? undefined : row?.['state'];
    });
    t.is(state, 'VOID');
  },
);
