import { randomUUID } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import { Client } from 'pg';
import { inTransaction } from '../db/orm.ts';
import { markSent } from '../payments/attempt-rows.ts';
import { NotExecuted, OutcomeUnknown, RequestRefused, type PaymentProvider } from '../payments/provider.ts';
import { renewDue } from '../renewals/renew-due.ts';
import { openDomain } from '../testing/domain.ts';
import { waitUntil } from '../testing/wait-until.ts';
import { startWorld, type World } from '../testing/world.ts';
import { cancelSubscription } from './cancel-subscription.ts';
import { expireChanges } from './expire-changes.ts';
import { followAttempts } from './follow-attempts.ts';
import { processWebhookEvents } from './process-webhook-events.ts';
import { runTransitions } from './run-transitions.ts';
import { settlePayments } from './settle-payment.ts';

let world: World;
test.before(async () => {
  world = await startWorld();
});
test.after.always(() => world?.stop());

const softLater = '4000000000000341';

/** What the way to the payment system does to calls instead of carrying them there. */
interface Fault {
  charge?: () => Error;
  lookUp?: () => Error;
}
const lost = () => new OutcomeUnknown('reset');
const away = () => new NotExecuted('connection refused');
const refused = () => new RequestRefused('401');

/**
 * A viewer whose renewal is due at this moment while no loop runs: every step is the test's. The payment system is the
 * real one, behind a way that can break.
 */
async function dueRenewal(t: ExecutionContext, card?: string) {
  const { subscriptionId, userId } = await world.subscriber(card);
  await world.service.stop();
  const fault: Fault = {};
  const domain = await openDomain(world);
  const [provider] = [...domain.ctx.providers.values()] as [PaymentProvider];
  const ctx = { ...domain.ctx, providers: new Map([[provider.name, breakable(provider, fault)]]) };
  t.teardown(async () => {
    await domain.stop();
    world.service = await world.startReplica();
  });
  await world.query(`update sandbox_clock set set_to = (select next_charge_at from subscription where id = $1)`, [
    subscriptionId,
  ]);
  const select = async (text: string) => world.query(text, [subscriptionId]);
  return {
    ctx,
    fault,
    subscriptionId,
    pass: (span: string) => world.query(`update sandbox_clock set set_to = set_to + $1::interval`, [span]),
    /** The sweeper's round, when whoever held a lease is gone. */
    async sweep() {
      await world.query(`update payment_attempt set lease_until = clock_timestamp() where next_check_at is not null`);
      await followAttempts(ctx);
    },
    cancel: () =>
      cancelSubscription(ctx, {
        requestId: randomUUID(),
        subscriptionId,
        effective: 'at-period-end',
        reason: '',
        refund: 'policy',
      }),
    state: async () =>
      (await select(`select status, cycle, open_payment_id is not null as open from subscription where id = $1`))[0]!,
    attempts: async () =>
      (
        await select(
          `select state from payment_attempt where subscription_id = $1 and kind = 'charge' order by attempt_number`,
        )
      ).map(({ state }) => state),
    /** How many renewals the payment system has taken money for. */
    charged: async () =>
      (await world.paymentSystem.payments()).filter(
        (payment) =>
          payment.customer_reference === userId && payment.kind === 'off_session' && payment.status === 'succeeded',
      ).length,
  };
}

function breakable(provider: PaymentProvider, fault: Fault): PaymentProvider {
  return {
    ...provider,
    charge: async (request) => {
      if (fault.charge) throw fault.charge();
      return provider.charge(request);
    },
    lookUp: async (query) => {
      if (fault.lookUp) throw fault.lookUp();
      return provider.lookUp(query);
    },
  };
}

for (const [name, fault, state] of [
  ['lost', lost, 'UNKNOWN'],
  ['not executed', away, 'DEAD'],
  ['refused', refused, 'DEAD'],
] as const) {
  test.serial(`after a committed cancellation a charge that was ${name} is never sent again`, async (t) => {
    const renewal = await dueRenewal(t);
    renewal.fault.charge = fault;
    await renewDue(renewal.ctx);
    await renewal.cancel();
    delete renewal.fault.charge;
    await renewal.pass('1 hour');
    await renewal.sweep();
    t.deepEqual(await renewal.attempts(), [state]);
    // The second look-up, long enough after the first, proves that it never was.
    await renewal.pass('14 minutes');
    await renewal.sweep();
    t.deepEqual(await renewal.attempts(), [state]);
    await renewal.pass('1 minute');
    await renewal.sweep();
    t.deepEqual(await renewal.attempts(), ['DEAD']);
    await runTransitions(renewal.ctx);
    t.deepEqual(await renewal.state(), { status: 'CANCELED', cycle: 0, open: false });
    t.is(await renewal.charged(), 0);
  });
}

test.serial(
  'no cancellation is committed between the last look at a charge that may be sent again and its mark',
  async (t) => {
    const renewal = await dueRenewal(t);
    renewal.fault.charge = lost;
    await renewDue(renewal.ctx);
    const [attempt] = await world.query(
      `select id from payment_attempt where subscription_id = $1 and state = 'UNKNOWN'`,
      [renewal.subscriptionId],
    );
    const id = String(attempt!['id']);
    const waiting = async () => {
      const [row] = await world.query(
        `select count(*)::int as n from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
      );
      return Number(row!['n']);
    };
    // Whoever holds the attempt makes the mark wait after its look at the subscription.
    const holder = new Client({ connectionString: world.databaseUrl });
    await holder.connect();
    await holder.query('begin');
    await holder.query(`select 1 from payment_attempt where id = $1 for update`, [id]);
    const mark = inTransaction(renewal.ctx.em, (tx) => markSent(tx, [{ id, state: 'UNKNOWN' }]));
    await waitUntil('the mark waits', async () => (await waiting()) === 1);
    let isCanceled = false;
    const canceled = renewal.cancel().then(() => (isCanceled = true));
    await waitUntil('the cancellation waits, or is done', async () => isCanceled || (await waiting()) === 2);
    const overtook = isCanceled;
    await holder.query('rollback');
    await holder.end();
    const marked = (await mark).has(id);
    await canceled;
    t.deepEqual({ overtook, marked }, { overtook: false, marked: true });
  },
);

for (const [name, fault] of [
  ['is away', away],
  ['refuses us', refused],
] as const) {
  test.serial(`a payment system that ${name} for 30 hours delays a renewal and loses nothing`, async (t) => {
    const renewal = await dueRenewal(t);
    renewal.fault.charge = fault;
    await renewDue(renewal.ctx);
    for (let hour = 0; hour < 30; hour++) {
      await renewal.pass('1 hour');
      await renewal.sweep();
    }
    t.deepEqual(await renewal.attempts(), ['PENDING']);
    delete renewal.fault.charge;
    await renewal.pass('1 hour');
    await renewal.sweep();
    t.deepEqual(await renewal.attempts(), ['SUCCEEDED']);
    t.deepEqual(await renewal.state(), { status: 'ACTIVE', cycle: 1, open: false });
    t.is(await renewal.charged(), 1);
  });
}

test.serial(
  'a lost charge is repeated under its key while that is safe, however late the first answer comes',
  async (t) => {
    const renewal = await dueRenewal(t);
    Object.assign(renewal.fault, { charge: lost, lookUp: lost });
    await renewDue(renewal.ctx);
    for (let hour = 0; hour < 18; hour++) {
      await renewal.pass('1 hour');
      await renewal.sweep();
    }
    t.deepEqual(await renewal.attempts(), ['UNKNOWN']);
    delete renewal.fault.charge;
    delete renewal.fault.lookUp;
    await renewal.pass('1 hour');
    await renewal.sweep();
    t.deepEqual(await renewal.attempts(), ['SUCCEEDED']);
    t.is(await renewal.charged(), 1);
  },
);

test.serial(
  'a charge that was lost for longer than its key lives is released by two look-ups and made anew',
  async (t) => {
    const renewal = await dueRenewal(t);
    Object.assign(renewal.fault, { charge: lost, lookUp: lost });
    await renewDue(renewal.ctx);
    await renewal.pass('21 hours');
    await renewal.sweep();
    delete renewal.fault.charge;
    delete renewal.fault.lookUp;
    await renewal.pass('1 hour');
    await renewal.sweep();
    t.deepEqual(await renewal.attempts(), ['UNKNOWN']);
    t.deepEqual(await renewal.state(), { status: 'ACTIVE', cycle: 0, open: true });
    await renewal.pass('15 minutes');
    await renewal.sweep();
    t.deepEqual(await renewal.attempts(), ['DEAD']);
    t.deepEqual(await renewal.state(), { status: 'ACTIVE', cycle: 0, open: false });
    await renewDue(renewal.ctx);
    t.deepEqual(await renewal.attempts(), ['DEAD', 'SUCCEEDED']);
    t.deepEqual(await renewal.state(), { status: 'ACTIVE', cycle: 1, open: false });
    t.is(await renewal.charged(), 1);
    const payments = await world.query(`select purpose from payment where subscription_id = $1 order by purpose`, [
      renewal.subscriptionId,
    ]);
    t.deepEqual(payments, [{ purpose: 'cycle:1' }, { purpose: 'initial' }]);
  },
);

test.serial('a charge that was never sent for a period that has passed whole is forgiven with it', async (t) => {
  const renewal = await dueRenewal(t);
  renewal.fault.charge = away;
  await renewDue(renewal.ctx);
  delete renewal.fault.charge;
  await renewal.pass('40 days');
  await renewal.sweep();
  t.deepEqual(await renewal.attempts(), ['DEAD']);
  await renewDue(renewal.ctx);
  t.deepEqual(await renewal.state(), { status: 'ACTIVE', cycle: 2, open: false });
  t.is(await renewal.charged(), 1);
  const payments = await world.query(
    `select purpose, status from payment where subscription_id = $1 order by purpose`,
    [renewal.subscriptionId],
  );
  t.deepEqual(payments, [
    { purpose: 'cycle:1', status: 'VOID' },
    { purpose: 'cycle:2', status: 'SUCCEEDED' },
    { purpose: 'initial', status: 'SUCCEEDED' },
  ]);
});

test.serial('a dunning that ended while billing was away ends, and takes no more money', async (t) => {
  const renewal = await dueRenewal(t, softLater);
  await renewDue(renewal.ctx);
  t.deepEqual(await renewal.state(), { status: 'PAST_DUE', cycle: 0, open: false });
  await renewal.pass('16 days');
  await renewDue(renewal.ctx);
  await runTransitions(renewal.ctx);
  t.deepEqual(await renewal.attempts(), ['DECLINED']);
  t.deepEqual(await renewal.state(), { status: 'CANCELED', cycle: 0, open: false });
});

test.serial('an end waits a day for an open charge; money that comes later is surplus', async (t) => {
  const renewal = await dueRenewal(t);
  Object.assign(renewal.fault, { charge: lost, lookUp: lost });
  await renewDue(renewal.ctx);
  await renewal.cancel();
  await renewal.pass('23 hours');
  await runTransitions(renewal.ctx);
  t.deepEqual(await renewal.state(), { status: 'ACTIVE', cycle: 0, open: true });
  await renewal.pass('2 hours');
  await runTransitions(renewal.ctx);
  t.deepEqual(await renewal.state(), { status: 'CANCELED', cycle: 0, open: false });
  const [attempt] = await world.query(
    `select id, amount_minor from payment_attempt where subscription_id = $1 and kind = 'charge'`,
    [renewal.subscriptionId],
  );
  const outcome = {
    kind: 'succeeded',
    providerPaymentId: `pay_${randomUUID()}`,
    amount: { currencyCode: 'RUB', amountMinor: 29_900n },
    refundedMinor: 0n,
    method: undefined,
  } as const;
  t.deepEqual(await settlePayments(renewal.ctx, [{ attemptId: attempt!['id'] as string, outcome }]), ['surplus']);
});

test.serial('a parked charge keeps no subscription from its end', async (t) => {
  const renewal = await dueRenewal(t);
  renewal.fault.charge = lost;
  await renewDue(renewal.ctx);
  await renewal.cancel();
  const [attempt] = await world.query(`select id from payment_attempt where subscription_id = $1 and kind = 'charge'`, [
    renewal.subscriptionId,
  ]);
  const outcome = {
    kind: 'succeeded',
    providerPaymentId: `pay_${randomUUID()}`,
    amount: { currencyCode: 'RUB', amountMinor: 29_901n },
    refundedMinor: 0n,
    method: undefined,
  } as const;
  t.deepEqual(await settlePayments(renewal.ctx, [{ attemptId: attempt!['id'] as string, outcome }]), ['mismatch']);
  await runTransitions(renewal.ctx);
  t.deepEqual(await renewal.state(), { status: 'CANCELED', cycle: 0, open: false });
  t.deepEqual(await renewal.attempts(), ['PARKED']);
});

test.serial('a notice that cannot be settled for a day is set aside, where an operator finds it', async (t) => {
  const renewal = await dueRenewal(t);
  renewal.fault.lookUp = lost;
  await world.query(
    `insert into webhook_event (provider, provider_event_id, type, payload, reference, state, next_try_at, received_at)
     select 'sandbox', 'evt_stubborn', 'payment.succeeded', '', id::text, 'RECEIVED', business_now(), business_now()
     from payment_attempt where subscription_id = $1`,
    [renewal.subscriptionId],
  );
  const state = async () => {
    const [row] = await world.query(`select state from webhook_event where provider_event_id = 'evt_stubborn'`);
    return row!['state'];
  };
  await processWebhookEvents(renewal.ctx);
  await renewal.pass('23 hours');
  await processWebhookEvents(renewal.ctx);
  t.is(await state(), 'RECEIVED');
  await renewal.pass('1 hour');
  await processWebhookEvents(renewal.ctx);
  t.is(await state(), 'QUARANTINED');
});

test.serial(
  'an upgrade that is given up while its charge is looked up is killed at once: nobody can confirm it any more',
  async (t) => {
    const { subscriptionId, token, userId } = await world.subscriber('4000000000003220');
    const { subscriptions } = world.clients();
    const asked = { requestId: randomUUID(), subscriptionId, priceId: world.prices.premium };
    const { actionUrl } = await subscriptions.changePlan(asked, { token });
    subscriptions.close();
    await world.service.stop();
    const domain = await openDomain(world);
    t.teardown(async () => {
      await domain.stop();
      world.service = await world.startReplica();
    });
    await world.query(`update sandbox_clock set set_to = set_to + interval '1 hour'`);
    const [[name, good]] = [...domain.ctx.providers] as [[string, PaymentProvider]];
    const overtaken: PaymentProvider = {
      ...good,
      async lookUp(query) {
        const found = await good.lookUp(query);
        await expireChanges(domain.ctx);
        return found;
      },
    };
    await followAttempts({ ...domain.ctx, providers: new Map([[name, overtaken]]) });
    await followAttempts(domain.ctx);
    await world.paymentSystem.confirm(actionUrl).catch(() => undefined);
    const charges = (await world.paymentSystem.payments()).filter(
      (payment) => payment.customer_reference === userId && payment.kind === 'off_session',
    );
    t.deepEqual(
      charges.map(({ status }) => status),
      ['canceled'],
    );
  },
);
