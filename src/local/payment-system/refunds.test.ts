import test from 'ava';
import { merchantOf } from '../../testing/payment-system-merchant.ts';
import { startPaymentSystem } from '../../testing/payment-system.ts';
import { startWebhookReceiver } from '../../testing/webhook-receiver.ts';

const receiver = await startWebhookReceiver();
const system = await startPaymentSystem({ webhookUrl: receiver.url });
const merchant = merchantOf(() => system);

test.after.always(async () => {
  await system.stop();
  await receiver.close();
});

const refund = (payment: string, amount: string) =>
  merchant.call('/v1/refunds', {
    key: crypto.randomUUID(),
    body: { payment, amount_minor: amount, reference: 'because' },
  });

test('never gives back more than was taken, also when refunds race', async (t) => {
  const { id } = await merchant.saveCard();
  const first = await refund(id, '59000');
  t.like(first, { status: 200, body: { payment: id, amount_minor: '59000', currency: 'RUB', status: 'succeeded' } });
  t.deepEqual((await merchant.call(`/v1/refunds/${String(first.body['id'])}`)).body, first.body);
  t.like(await refund(id, '901'), { status: 400, body: { error: { code: 'amount_too_large' } } });
  const race = await Promise.all([refund(id, '600'), refund(id, '600'), refund(id, '600')]);
  t.deepEqual(race.map(({ status }) => status).sort(), [200, 400, 400]);
  t.is((await refund(id, '300')).status, 200);
  t.is((await merchant.call(`/v1/payments/${id}`)).body['refunded_minor'], '59900');
  t.is((await refund(id, '1')).status, 400);
});

test('gives nothing back where nothing was taken', async (t) => {
  const { id } = await merchant.openCheckout();
  t.like(await refund(id, '1'), { status: 400, body: { error: { code: 'payment_not_succeeded' } } });
  t.like(await refund('pay_unknown', '1'), { status: 400, body: { error: { code: 'no_such_payment' } } });
});
