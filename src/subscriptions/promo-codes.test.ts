import { randomUUID } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import type { CreatePromoCodeRequestSchema } from '@cinema-billing/gen/billing/admin/v1/promo_code_pb.ts';
import { CancelEffective } from '@cinema-billing/gen/billing/v1/subscription_service_pb.ts';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { verifyLedger } from '../ledger/verify-ledger.ts';
import { RpcError } from '../cli/grpc-client.ts';
import { openDomain } from '../testing/domain.ts';
import { refused } from '../testing/refused.ts';
import { waitUntil } from '../testing/wait-until.ts';
import { startWorld, type World } from '../testing/world.ts';

let world: World;
let api: ReturnType<World['clients']>;
let admin: string;
test.before(async () => {
  world = await startWorld();
  api = world.clients();
  admin = await world.auth.token({ sub: 'olga', role: 'admin' });
  await world.query(`update plan set trial_days = 7 where code = 'basic'`);
});
test.after.always(() => world?.stop());

const softLater = '4000000000000341';

/** A code of thirty percent for three cycles, unless said otherwise. */
async function makeCode(more: Omit<MessageInitShape<typeof CreatePromoCodeRequestSchema>, '$typeName'> = {}) {
  const code = `T${randomUUID().slice(0, 8).toUpperCase()}`;
  const discount = { case: 'percentOff' as const, value: 30 };
  const terms = { code, discount, cycles: 3, ...more, requestId: randomUUID(), reason: 'spring' };
  return (await api.planAdmin.createPromoCode(terms, { token: admin })).promoCode!;
}

async function viewer() {
  const userId = randomUUID();
  const token = await world.auth.token({ sub: userId });
  const { subscriptions } = api;
  const subscribe = (promoCode: string, more: { withTrial?: boolean; priceId?: string } = {}) =>
    subscriptions.subscribe({ requestId: randomUUID(), priceId: world.prices.basic, promoCode, ...more }, { token });
  return {
    userId,
    token,
    subscribe,
    async takeOut(promoCode: string, card?: string, more: { withTrial?: boolean } = {}) {
      const { subscription, checkout } = await subscribe(promoCode, more);
      await world.provider.pay(checkout!.url, card);
      await waitUntil('the subscription is paid', async () => {
        const [row] = await world.query(`select status from subscription where id = $1`, [subscription!.id]);
        return row!['status'] !== 'INCOMPLETE';
      });
      return subscription!.id;
    },
    /** Kopecks that the payment system has taken, oldest first. */
    taken: async () =>
      (await world.paymentSystem.payments())
        .filter((payment) => payment.customer_reference === userId && payment.status === 'succeeded')
        .map((payment) => Number(payment.amount_minor))
        .filter((amount) => amount > 0),
    /** What the operator's page says that the next charge takes. */
    next: async () =>
      (await api.customerAdmin.getCustomer({ userId }, { token: admin })).customer!.access[0]!.nextChargeAmount!
        .amountMinor,
  };
}

async function obstacle(t: ExecutionContext, call: Promise<unknown>): Promise<string> {
  const error = await t.throwsAsync(call, { instanceOf: RpcError });
  t.is(error!.reason, 'PROMO_CODE_NOT_APPLICABLE');
  return /: ([^:]+)$/.exec(error!.message)![1]!;
}

test.serial(
  'a code for three cycles makes three payments cheaper, also when it has ended, and no fourth',
  async (t) => {
    const { id, code } = await makeCode();
    const { userId, token, takeOut, taken, next } = await viewer();
    const asked = { priceId: world.prices.basic, promoCode: code.toLowerCase() };
    const preview = await api.subscriptions.previewSubscribe(asked, { token });
    // 299.00 less 30 % (89.70) is 209.30.
    t.is(preview.price!.amountMinor, 29_900n);
    t.is(preview.adjustment!.amount!.amountMinor, -8_970n);
    t.is(preview.adjustment!.promoCode, code);
    t.deepEqual([preview.due!.amountMinor, preview.discountedCycles], [20_930n, 3]);
    t.deepEqual(await world.query(`select 1 from promo_redemption where user_id = $1`, [userId]), []);

    const subscriptionId = await takeOut(code.toLowerCase());
    t.is(await next(), 20_930n);
    await api.planAdmin.endPromoCode({ requestId: randomUUID(), reason: 'over', promoCodeId: id }, { token: admin });
    await world.advance({ days: 60 });
    t.deepEqual(await taken(), [20_930, 20_930, 20_930]);
    t.is(await next(), 29_900n);
    await world.advance({ days: 31 });
    t.deepEqual(await taken(), [20_930, 20_930, 20_930, 29_900]);

    const { payments } = await api.subscriptions.listPayments({}, { token });
    t.deepEqual(
      payments.map(({ purpose, adjustments }) => [purpose, adjustments.map((line) => line.amount!.amountMinor)]),
      [
        ['cycle:3', []],
        ['cycle:2', [-8_970n]],
        ['cycle:1', [-8_970n]],
        ['initial', [-8_970n]],
      ],
    );
    const explained = await api.paymentAdmin.explainPayment({ paymentId: payments[1]!.id }, { token: admin });
    t.is(explained.payment!.payment!.adjustments[0]!.promoCode, code);
    t.is(subscriptionId, payments[0]!.subscriptionId);
  },
);

test.serial('a trial takes nothing, and the discount is for the cycles after it', async (t) => {
  const { code } = await makeCode({ cycles: 1, discount: { case: 'amountOff', value: rub(10_000n) } });
  const { takeOut, taken, next } = await viewer();
  await takeOut(code, undefined, { withTrial: true });
  t.deepEqual(await taken(), []);
  t.is(await next(), 19_900n);
  await world.advance({ days: 8 });
  t.deepEqual(await taken(), [19_900]);
  await world.advance({ days: 31 });
  t.deepEqual(await taken(), [19_900, 29_900]);
});

test.serial('a declined renewal is tried again for the amount that was frozen, and is one cycle', async (t) => {
  const { code } = await makeCode({ cycles: 2 });
  const { userId, takeOut, taken, next } = await viewer();
  const subscriptionId = await takeOut(code, softLater);
  await world.advance({ days: 36 });
  const tried = (await world.paymentSystem.payments()).filter(
    (payment) => payment.customer_reference === userId && payment.status === 'declined',
  );
  t.true(tried.length >= 2);
  t.deepEqual([...new Set(tried.map((payment) => Number(payment.amount_minor)))], [20_930]);
  t.deepEqual(await taken(), [20_930]);
  t.is(await next(), 20_930n);
  const lines = await world.query(
    `select count(*)::int as lines from payment_adjustment a join payment p on p.id = a.payment_id where p.subscription_id = $1`,
    [subscriptionId],
  );
  t.deepEqual(lines, [{ lines: 2 }]);
});

test.serial(
  'an upgrade starts from the money that was really paid, and the discount goes on with the next cycle',
  async (t) => {
    const { code } = await makeCode();
    const { token, takeOut } = await viewer();
    const subscriptionId = await takeOut(code);
    const [row] = await world.query(
      `select extract(epoch from current_period_end - current_period_start)::int as span from subscription where id = $1`,
      [subscriptionId],
    );
    const days = Number(row!['span']) / 86_400;
    await world.advance({ days: 10 });
    const { change } = await api.subscriptions.previewPlanChange(
      { subscriptionId, priceId: world.prices.premium },
      { token },
    );
    // By days left of the period; half up. 999.00 less 30 % is 699.30.
    const part = (minor: number) => BigInt(Math.floor((minor * (days - 10)) / days + 0.5));
    t.is(change!.credit!.amountMinor, part(20_930));
    t.is(change!.charge!.amountMinor, part(99_900));
    t.is(change!.nextCharge!.amountMinor, 69_930n);
  },
);

test.serial('a code for one plan takes nothing off another one', async (t) => {
  const [plan] = await world.query(`select id from plan where code = 'basic'`);
  const { code } = await makeCode({ planId: String(plan!['id']) });
  const { token, takeOut, subscribe } = await viewer();
  t.is(await obstacle(t, subscribe(code, { priceId: world.prices.premium })), 'the promo code is for another plan');
  const subscriptionId = await takeOut(code);
  const { change } = await api.subscriptions.previewPlanChange(
    { subscriptionId, priceId: world.prices.premium },
    { token },
  );
  t.is(change!.nextCharge!.amountMinor, 99_900n);
});

test.serial('a viewer redeems a code once; a page that was never paid gives it back', async (t) => {
  const { code } = await makeCode({ redemptionsMax: 1 });
  const { token, subscribe, takeOut } = await viewer();
  const first = await subscribe(code);
  const again = await subscribe(code);
  t.is(again.checkout!.url, first.checkout!.url);
  const other = await viewer();
  t.is(await obstacle(t, other.subscribe(code)), 'the promo code was redeemed as often as it may be');
  const without = await subscribe('');
  t.not(without.checkout!.url, first.checkout!.url);
  const subscriptionId = await takeOut(code);
  const cancel = { requestId: randomUUID(), subscriptionId, effective: CancelEffective.NOW };
  await api.subscriptions.cancelSubscription(cancel, { token });
  t.is(await obstacle(t, subscribe(code)), 'the viewer has redeemed this promo code before');
});

test.serial('of twelve viewers who want the last redemption at once, one gets it', async (t) => {
  const { code, id } = await makeCode({ redemptionsMax: 1 });
  const viewers = await Promise.all(Array.from({ length: 12 }, viewer));
  const answers = await Promise.allSettled(viewers.map(({ subscribe }) => subscribe(code)));
  t.is(answers.filter(({ status }) => status === 'fulfilled').length, 1);
  const reasons = answers.flatMap((answer) =>
    answer.status === 'rejected' ? [(answer.reason as RpcError).reason] : [],
  );
  t.deepEqual([...new Set(reasons)], ['PROMO_CODE_NOT_APPLICABLE']);
  const { promoCodes } = await api.planAdmin.listPromoCodes({}, { token: admin });
  t.is(promoCodes.find((promoCode) => promoCode.id === id)!.redemptionCount, 1);
});

test.serial('a code that is not there, has ended, or is for another currency says so', async (t) => {
  const { subscribe } = await viewer();
  t.is(await refused(t, subscribe('NOBODY-MADE-IT')), 'NOT_FOUND PROMO_CODE_NOT_FOUND');
  const { code, id } = await makeCode();
  await api.planAdmin.endPromoCode({ requestId: randomUUID(), reason: 'over', promoCodeId: id }, { token: admin });
  t.is(await obstacle(t, subscribe(code)), 'the promo code has ended');
  const dollars = await makeCode({
    discount: { case: 'amountOff', value: { currencyCode: 'USD', amountMinor: 500n } },
  });
  t.is(await obstacle(t, subscribe(dollars.code)), 'the promo code is for another currency');
  t.is(await refused(t, makeCode({ code: dollars.code.toLowerCase() })), 'ALREADY_EXISTS PROMO_CODE_EXISTS');
  t.is(
    await refused(t, makeCode({ discount: { case: 'amountOff', value: { currencyCode: 'XQQ', amountMinor: 500n } } })),
    'INVALID_ARGUMENT PROMO_CODE_INVALID',
  );
  t.is(await refused(t, makeCode({ discount: { case: undefined } })), 'INVALID_ARGUMENT INVALID_FIELDS');
});

test.serial('the books agree with all of it, and no line ever changes', async (t) => {
  const domain = await openDomain(world);
  const { list, holds } = await verifyLedger(domain.ctx);
  t.deepEqual([list, holds], [[], true]);
  await domain.stop();
  await t.throwsAsync(world.query(`update payment_adjustment set amount_minor = -1`), { message: /never change/ });
  await t.throwsAsync(world.query(`delete from payment_adjustment`), { message: /never change/ });
});

function rub(amountMinor: bigint) {
  return { currencyCode: 'RUB', amountMinor };
}
