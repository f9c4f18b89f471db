import { randomUUID } from 'node:crypto';
import test from 'ava';
import { reconcile } from '../ledger/reconcile.ts';
import { verifyLedger } from '../ledger/verify-ledger.ts';
import { sendRefunds } from '../payments/send-refunds.ts';
import { extendPeriod } from '../subscriptions/extend-period.ts';
import { grantSubscription } from '../subscriptions/grant-subscription.ts';
import { settlePayments } from '../subscriptions/settle-payment.ts';
import { openDomain, type Domain } from '../testing/domain.ts';
import { waitUntil } from '../testing/wait-until.ts';
import { copySubscription, startWorld, type World } from '../testing/world.ts';

const softLater = '4000000000000341';

async function proofs(world: World, domain: Domain) {
  const [clock] = await world.query(`select (business_now() + interval '1 minute')::text as to`);
  const to = Temporal.Instant.from(clock!['to'] as string);
  const ledger = await verifyLedger(domain.ctx);
  const from = Temporal.Instant.from('2027-01-01T00:00:00Z');
  const provider = await reconcile(domain.ctx, { provider: domain.ctx.providers.get('sandbox')!, from, to });
  return { ledger, provider };
}

async function factsOf(world: World, subscriptionId: string) {
  return world.query(
    `select kind, amount_minor as amount, period_start::text as start, period_end::text as end from journal_fact
     where subscription_id = $1 order by period_start`,
    [subscriptionId],
  );
}

test.serial('paid, missed, forgiven and paid again: the journal has each, and both proofs hold', async (t) => {
  const world = await startWorld();
  const domain = await openDomain(world);
  try {
    const { subscriptionId } = await world.subscriber();
    await world.subscriber(softLater);
    await world.advance({ days: 32 });
    await world.service.stop();
    await world.query(`update sandbox_clock set set_to = set_to + interval '70 days'`);
    await world.query(`update renewal_watch set seen_at = seen_at - interval '70 days'`);
    world.service = await world.startReplica();
    await world.advance({ hours: 25 });
    // Taken out on 15 January; renewed on 15 February; the 70 days end on 27 April.
    t.deepEqual(await factsOf(world, subscriptionId), [
      { kind: 'CHARGED', amount: '29900', start: '2027-01-15 09:00:00+00', end: '2027-02-15 09:00:00+00' },
      { kind: 'CHARGED', amount: '29900', start: '2027-02-15 09:00:00+00', end: '2027-03-15 09:00:00+00' },
      { kind: 'FORGIVEN', amount: null, start: '2027-03-15 09:00:00+00', end: '2027-04-15 09:00:00+00' },
      { kind: 'CHARGED', amount: '29900', start: '2027-04-15 09:00:00+00', end: '2027-05-15 09:00:00+00' },
    ]);
    const { ledger, provider } = await proofs(world, domain);
    t.deepEqual([ledger.list, provider.list], [[], []]);
    t.true(ledger.holds && provider.holds);
    const succeeded = (await world.paymentSystem.payments()).filter(({ status }) => status === 'succeeded');
    t.is(provider.examined.succeeded, succeeded.length);
    t.is(ledger.examined.charges, succeeded.length);
  } finally {
    await domain.stop();
    await world.stop();
  }
});

test.serial('time that an operator gives is a span of its own, and the paid periods go on behind it', async (t) => {
  const world = await startWorld();
  const domain = await openDomain(world);
  try {
    const { subscriptionId } = await world.subscriber();
    const given = { requestId: randomUUID(), reason: 'the film tore' };
    await extendPeriod(domain.ctx, { ...given, subscriptionId, days: 5 });
    const gift = { requestId: randomUUID(), userId: randomUUID(), priceId: world.prices.basic, reason: 'a prize' };
    const gifted = await grantSubscription(domain.ctx, { ...gift, days: 10 });
    await world.advance({ days: 40 });
    t.deepEqual(await factsOf(world, subscriptionId), [
      { kind: 'CHARGED', amount: '29900', start: '2027-01-15 09:00:00+00', end: '2027-02-15 09:00:00+00' },
      { kind: 'EXTENDED', amount: null, start: '2027-02-15 09:00:00+00', end: '2027-02-20 09:00:00+00' },
      { kind: 'CHARGED', amount: '29900', start: '2027-02-20 09:00:00+00', end: '2027-03-20 09:00:00+00' },
    ]);
    t.deepEqual(await factsOf(world, gifted.id), [
      { kind: 'EXTENDED', amount: null, start: '2027-01-15 09:00:00+00', end: '2027-01-25 09:00:00+00' },
    ]);
    const { ledger, provider } = await proofs(world, domain);
    t.deepEqual([ledger.list, provider.list], [[], []]);
  } finally {
    await domain.stop();
    await world.stop();
  }
});

test.serial(
  'surplus is written down once, and once more when it is given back, whoever tells of it again',
  async (t) => {
    const world = await startWorld();
    const domain = await openDomain(world);
    try {
      const { subscriptionId } = await world.subscriber();
      await world.service.stop();
      const [attempt] = await world.query(`select id, provider_payment_id from payment_attempt`);
      const [first] = await world.paymentSystem.payments();
      // The payment system takes the money a second time for the same attempt.
      const { apiKey, url } = world.paymentSystem;
      const answer = await fetch(`${url}/v1/charges`, {
        method: 'POST',
        headers: { authorization: `Bearer ${apiKey}`, 'idempotency-key': 'second' },
        body: JSON.stringify({
          amount_minor: '29900',
          currency: 'RUB',
          reference: attempt!['id'],
          customer: first!.customer,
          payment_method: first!.payment_method!.id,
        }),
      });
      const { id: providerPaymentId } = (await answer.json()) as { id: string };
      const settlement = {
        attemptId: attempt!['id'] as string,
        outcome: {
          kind: 'succeeded',
          providerPaymentId,
          amount: { currencyCode: 'RUB', amountMinor: 29_900n },
          refundedMinor: 0n,
          method: undefined,
        },
      } as const;
      for (let time = 0; time < 3; time++) t.deepEqual(await settlePayments(domain.ctx, [settlement]), ['surplus']);
      await Promise.all([sendRefunds(domain.ctx), sendRefunds(domain.ctx)]);
      await sendRefunds(domain.ctx);
      t.deepEqual(
        await world.query(
          `select kind, provider_payment_id = $2 as second, period_start is null as surplus from journal_fact
         where subscription_id = $1 order by lane, sequence`,
          [subscriptionId, providerPaymentId],
        ),
        [
          { kind: 'CHARGED', second: false, surplus: false },
          { kind: 'CHARGED', second: true, surplus: true },
          { kind: 'REFUNDED', second: true, surplus: true },
        ],
      );
      const { ledger, provider } = await proofs(world, domain);
      t.deepEqual([ledger.list, provider.list], [[], []]);
      t.deepEqual(provider.examined, { payments: 2, succeeded: 2, charges: 2, underWay: 0 });
    } finally {
      await domain.stop();
      await world.stop();
    }
  },
);

test.serial('three replicas that settle side by side leave a journal that holds', async (t) => {
  const due = process.env['BILLING_TEST_TIER'] === 'full' ? 3_000 : 300;
  const world = await startWorld({ env: { BILLING_LOG_LEVEL: 'warn' } });
  const domain = await openDomain(world);
  try {
    const { subscriptionId } = await world.subscriber();
    for (let n = 1; n < due; n++) await copySubscription(world, subscriptionId);
    await Promise.all([world.startReplica(), world.startReplica()]);
    await world.query(`update sandbox_clock set set_to = (select max(next_charge_at) from subscription)`);
    await waitUntil(
      'all are renewed',
      async () => {
        const [row] = await world.query(
          `select count(*)::int as n from subscription where cycle = 1 and open_payment_id is null`,
        );
        return row!['n'] === due;
      },
      60_000,
    );
    const { ledger, provider } = await proofs(world, domain);
    t.deepEqual([ledger.list, provider.list], [[], []]);
    t.is(ledger.examined.charges, due + 1);
    t.is(provider.examined.succeeded, due + 1);
    t.log(`${ledger.heads.length} lanes, ${ledger.examined.batches} batches`);
  } finally {
    await domain.stop();
    await world.stop();
  }
});
