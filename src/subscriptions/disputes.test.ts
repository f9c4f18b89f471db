import { randomUUID } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import { DisputeState } from '@cinema-billing/gen/billing/admin/v1/payment_admin_service_pb.ts';
import { RefundChoice } from '@cinema-billing/gen/billing/admin/v1/subscription_admin_service_pb.ts';
import { CancelEffective } from '@cinema-billing/gen/billing/v1/subscription_service_pb.ts';
import { verifyLedger } from '../ledger/verify-ledger.ts';
import { openDomain, type Domain } from '../testing/domain.ts';
import { merchantOf } from '../testing/payment-system-merchant.ts';
import { refused } from '../testing/refused.ts';
import { waitUntil } from '../testing/wait-until.ts';
import { startWorld, type World } from '../testing/world.ts';

let world: World;
let domain: Domain;
let api: ReturnType<World['clients']>;
let support: { token: string };
test.before(async () => {
  world = await startWorld({ at: '2027-01-15T09:00:00Z' });
  domain = await openDomain(world);
  api = world.clients();
  support = { token: await world.auth.token({ sub: 'sasha', role: 'support' }) };
});
test.after.always(async () => {
  await domain?.stop();
  await world?.stop();
});

type Viewer = Awaited<ReturnType<World['subscriber']>>;
const monthly = '29900';
const noFundsLater = '4000000000000341';

/** Of the sandbox's own books, oldest first. */
async function chargesOf({ userId }: Viewer) {
  return (await world.paymentSystem.payments()).filter((payment) => payment.customer_reference === userId);
}

async function stateOf({ subscriptionId }: Viewer) {
  const [row] = await world.query(
    `select status, cycle, renewal_blocked as blocked, next_charge_at is not null as charges,
       cancel_at_period_end as flagged from subscription where id = $1`,
    [subscriptionId],
  );
  return row!;
}

async function historyOf({ subscriptionId }: Viewer): Promise<string[]> {
  const rows = await world.query(
    `select kind || case when kind = 'CANCELED' then ' ' || reason else '' end as line from subscription_event
     where subscription_id = $1 order by occurred_at, id`,
    [subscriptionId],
  );
  return rows.map(({ line }) => String(line));
}

async function factsOf({ subscriptionId }: Viewer): Promise<string[]> {
  const rows = await world.query(
    `select kind, amount_minor::text as amount from journal_fact where subscription_id = $1 and amount_minor is not null
     order by occurred_at, lane, sequence, position`,
    [subscriptionId],
  );
  return rows.map(({ kind, amount }) => `${String(kind)} ${String(amount)}`);
}

const settled = () => world.advance({ hours: 0 });

async function disputeLatest(viewer: Viewer): Promise<string> {
  const id = await world.paymentSystem.dispute((await chargesOf(viewer)).at(-1)!.id);
  await settled();
  return id;
}

/** Waits until Auth has exactly these leases, in ms since the epoch. */
async function authHas({ userId }: Viewer, leases: number[]): Promise<void> {
  await waitUntil(`Auth has the leases [${leases.join()}]`, async () => {
    const { grants } = await world.auth.user(userId);
    return grants.map((grant) => Date.parse(grant.access_until)).join() === leases.join();
  });
}

async function booksHold(t: ExecutionContext): Promise<void> {
  t.deepEqual((await verifyLedger(domain.ctx)).list, []);
}

// Before all others: half a year beside the disputes that they leave open would be half a year of daily looks.
test.serial('money that was lost in a dispute counts as gone in what a later plan took over from it', async (t) => {
  const viewer = await world.subscriber();
  const yearly = randomUUID();
  await world.query(
    `insert into price select $1, plan_id, 'RUB', 999000, 'year', 1, created_at from price where id = $2`,
    [yearly, world.prices.basic],
  );
  const { subscriptionId, token } = viewer;
  const asked = { requestId: randomUUID(), subscriptionId, priceId: yearly };
  // At the very instant of the payment: all of 299.00 is taken off 9,990.00.
  const { change } = await api.subscriptions.changePlan(asked, { token });
  t.is(change!.due!.amountMinor, 969_100n);
  const id = await world.paymentSystem.dispute((await chargesOf(viewer))[0]!.id);
  await settled();
  await world.paymentSystem.closeDispute(id, 'lost');
  await settled();
  t.like(await stateOf(viewer), { status: 'ACTIVE', blocked: true });
  await world.advance({ days: 146 });
  const cancel = { effective: CancelEffective.NOW, refund: RefundChoice.PRORATED, validateOnly: true };
  const admin = { token: await world.auth.token({ sub: 'olga', role: 'admin' }) };
  const { refund } = await api.subscriptionAdmin.cancelSubscription(
    { requestId: randomUUID(), reason: 'asked', subscriptionId, ...cancel },
    admin,
  );
  // Of what was really paid: 219 of 365 days are left, or 220 of the 366 of a leap year.
  const [year] = await world.query(
    `select (current_period_end - current_period_start = interval '366 days') as leap from subscription where id = $1`,
    [subscriptionId],
  );
  t.is(refund!.amountMinor, year!['leap'] ? 582_519n : 581_460n);
});

test.serial(
  'withdrawn money blocks the renewal: the subscription ends with its period, and nothing goes back',
  async (t) => {
    const viewer = await world.subscriber();
    await disputeLatest(viewer);
    t.like(await stateOf(viewer), { status: 'ACTIVE', blocked: true, charges: false, flagged: false });
    const [period] = await world.query(`select current_period_end as ends from subscription where id = $1`, [
      viewer.subscriptionId,
    ]);
    await authHas(viewer, [(period!['ends'] as Date).getTime()]);

    const { disputes } = await api.paymentAdmin.listDisputes({ userId: viewer.userId }, support);
    t.like(disputes[0], { state: DisputeState.OPEN, reason: 'fraudulent', subscriptionId: viewer.subscriptionId });
    t.is(disputes[0]!.amount?.amountMinor, BigInt(monthly));
    const { paymentId } = disputes[0]!;
    const { payment } = await api.paymentAdmin.getPayment({ paymentId }, support);
    t.is(payment?.disputes.length, 1);
    const refund = { requestId: randomUUID(), reason: 'asked', paymentId };
    t.is(await refused(t, api.paymentAdmin.refundPayment(refund, support)), 'FAILED_PRECONDITION DISPUTE_OPEN');
    const cancel = { requestId: randomUUID(), reason: 'asked', subscriptionId: viewer.subscriptionId };
    const withRefund = { ...cancel, effective: CancelEffective.NOW, refund: RefundChoice.FULL };
    const admin = { token: await world.auth.token({ sub: 'olga', role: 'admin' }) };
    t.is(
      await refused(t, api.subscriptionAdmin.cancelSubscription(withRefund, admin)),
      'FAILED_PRECONDITION DISPUTE_OPEN',
    );

    await world.advance({ days: 32 });
    t.like(await stateOf(viewer), { status: 'CANCELED', cycle: 0 });
    t.deepEqual(await historyOf(viewer), ['SUBSCRIBED', 'ACTIVATED', 'DISPUTE_OPENED', 'CANCELED DISPUTE']);
    t.is((await chargesOf(viewer)).length, 1, 'nothing was charged');
    await authHas(viewer, []);
    t.deepEqual(await factsOf(viewer), [`CHARGED ${monthly}`, `DISPUTED ${monthly}`]);
    await booksHold(t);
  },
);

test.serial('money that comes back before the end of the period frees the renewal', async (t) => {
  const viewer = await world.subscriber();
  const id = await disputeLatest(viewer);
  await world.advance({ days: 3 });
  await world.paymentSystem.closeDispute(id, 'won');
  await settled();
  t.like(await stateOf(viewer), { status: 'ACTIVE', blocked: false, charges: true });
  await world.advance({ days: 30 });
  t.like(await stateOf(viewer), { status: 'ACTIVE', cycle: 1 });
  t.deepEqual(await historyOf(viewer), ['SUBSCRIBED', 'ACTIVATED', 'DISPUTE_OPENED', 'DISPUTE_REINSTATED', 'RENEWED']);
  t.deepEqual(await factsOf(viewer), [
    `CHARGED ${monthly}`,
    `DISPUTED ${monthly}`,
    `REINSTATED ${monthly}`,
    `CHARGED ${monthly}`,
  ]);
  await booksHold(t);
});

test.serial('timeline: a dispute that is reinstated after the period is only written down', async (t) => {
  const viewer = await world.subscriber();
  const id = await disputeLatest(viewer);
  await world.advance({ days: 40 });
  const before = await stateOf(viewer);
  t.like(before, { status: 'CANCELED' });
  await world.paymentSystem.closeDispute(id, 'won');
  await settled();
  t.deepEqual(await stateOf(viewer), before);
  t.deepEqual(await historyOf(viewer), [
    'SUBSCRIBED',
    'ACTIVATED',
    'DISPUTE_OPENED',
    'CANCELED DISPUTE',
    'DISPUTE_REINSTATED',
  ]);
  t.deepEqual(await factsOf(viewer), [`CHARGED ${monthly}`, `DISPUTED ${monthly}`, `REINSTATED ${monthly}`]);
  const { disputes } = await api.paymentAdmin.listDisputes({ userId: viewer.userId }, support);
  t.deepEqual(
    disputes.map(({ state }) => state),
    [DisputeState.REINSTATED],
  );
  // The money is ours again, so it can go back.
  const { paymentId } = disputes[0]!;
  const refund = await api.paymentAdmin.refundPayment({ requestId: randomUUID(), reason: 'asked', paymentId }, support);
  t.is(refund.amount?.amountMinor, BigInt(monthly));
  await settled();
  await booksHold(t);
});

test.serial(
  'the lost dispute of the current period ends access at once, that of an earlier one with the period',
  async (t) => {
    const [current, earlier] = [await world.subscriber(), await world.subscriber()];
    const ofCurrent = await disputeLatest(current);
    await world.paymentSystem.closeDispute(ofCurrent, 'lost');
    await settled();
    t.like(await stateOf(current), { status: 'CANCELED' });
    await authHas(current, []);
    t.deepEqual((await historyOf(current)).slice(-3), ['DISPUTE_OPENED', 'DISPUTE_LOST', 'CANCELED DISPUTE']);
    const [row] = await world.query(`select id from payment where subscription_id = $1`, [current.subscriptionId]);
    const refund = { requestId: randomUUID(), reason: 'asked', paymentId: String(row!['id']) };
    t.is(await refused(t, api.paymentAdmin.refundPayment(refund, support)), 'FAILED_PRECONDITION NOTHING_TO_REFUND');

    await world.advance({ days: 32 });
    t.like(await stateOf(earlier), { status: 'ACTIVE', cycle: 1 });
    const id = await world.paymentSystem.dispute((await chargesOf(earlier))[0]!.id);
    await settled();
    await world.paymentSystem.closeDispute(id, 'lost');
    await settled();
    t.like(await stateOf(earlier), { status: 'ACTIVE', cycle: 1, blocked: true });
    await world.advance({ days: 32 });
    t.like(await stateOf(earlier), { status: 'CANCELED', cycle: 1 });
    t.deepEqual((await historyOf(earlier)).slice(-3), ['DISPUTE_OPENED', 'DISPUTE_LOST', 'CANCELED DISPUTE']);
    await booksHold(t);
  },
);

test.serial(
  'a refund that was on its way waits for a dispute, and money that is lost in it goes back no second time',
  async (t) => {
    const [lost, won] = [await world.subscriber(), await world.subscriber()];
    const refundOf = async (viewer: Viewer) => {
      const [row] = await world.query(
        `select r.state, r.note from refund r join payment_attempt a on a.id = r.attempt_id where a.subscription_id = $1`,
        [viewer.subscriptionId],
      );
      return row;
    };
    for (const viewer of [lost, won]) {
      // Written down, and then disputed before it is sent.
      await world.query(
        `insert into refund (id, attempt_id, reason, provider, merchant_account, provider_payment_id, amount_minor,
         currency_code, idempotency_key, state, next_try_at, lease_until, created_at)
       select $2::uuid, a.id, 'REQUESTED', a.provider, a.merchant_account, a.provider_payment_id, a.amount_minor,
         a.currency_code, $3, 'PENDING', business_now() + interval '1 day', clock_timestamp(), business_now()
       from payment_attempt a where a.subscription_id = $1`,
        [viewer.subscriptionId, randomUUID(), `rfd_${viewer.subscriptionId}`],
      );
    }
    const ids = [await disputeLatest(lost), await disputeLatest(won)];
    await world.advance({ days: 3 });
    t.like(await refundOf(lost), { state: 'PENDING' });
    t.like(await refundOf(won), { state: 'PENDING' });
    await world.paymentSystem.closeDispute(ids[0]!, 'lost');
    await world.paymentSystem.closeDispute(ids[1]!, 'won');
    await world.advance({ days: 1 });
    t.deepEqual(await refundOf(lost), { state: 'FAILED', note: 'lost in a dispute' });
    t.like(await refundOf(won), { state: 'SUCCEEDED' });
    t.is((await chargesOf(lost))[0]!.refunded_minor, '0');
    t.is((await chargesOf(won))[0]!.refunded_minor, monthly);
    await booksHold(t);
  },
);

test.serial('lost notices of a dispute that is known are made up for by a daily look', async (t) => {
  const viewer = await world.subscriber();
  const id = await disputeLatest(viewer);
  await world.paymentSystem.script(viewer.userId, { webhooks: 'lost' });
  await world.paymentSystem.closeDispute(id, 'won');
  await settled();
  t.like(await stateOf(viewer), { blocked: true });
  await world.advance({ days: 2 });
  t.like(await stateOf(viewer), { status: 'ACTIVE', blocked: false, charges: true });
});

test.serial('notices of a dispute that come twice, and out of order, change nothing', async (t) => {
  const viewer = await world.subscriber();
  await world.paymentSystem.script(viewer.userId, { webhooks: 'duplicated' });
  const id = await world.paymentSystem.dispute((await chargesOf(viewer))[0]!.id);
  // Closed before we heard that it was opened.
  await world.paymentSystem.closeDispute(id, 'won');
  await world.advance({ hours: 1 });
  t.like(await stateOf(viewer), { status: 'ACTIVE', blocked: false, charges: true });
  t.deepEqual(await factsOf(viewer), [`CHARGED ${monthly}`, `DISPUTED ${monthly}`, `REINSTATED ${monthly}`]);
  await booksHold(t);
});

test.serial('while money is disputed nothing is retried, and a viewer may leave with nothing back', async (t) => {
  const owing = await world.subscriber(noFundsLater);
  await world.advance({ days: 31 });
  t.like(await stateOf(owing), { status: 'PAST_DUE', charges: true });
  const paid = (await chargesOf(owing)).find(({ status }) => status === 'succeeded');
  await world.paymentSystem.dispute(paid!.id);
  await settled();
  t.like(await stateOf(owing), { status: 'PAST_DUE', blocked: true, charges: false });
  const { subscriptionId, token } = owing;
  const retry = api.subscriptions.retryPayment({ requestId: randomUUID(), subscriptionId }, { token });
  t.is(await refused(t, retry), 'FAILED_PRECONDITION DISPUTE_OPEN');
  const before = (await chargesOf(owing)).length;
  await world.advance({ days: 15 });
  t.is((await chargesOf(owing)).length, before);
  t.like(await stateOf(owing), { status: 'CANCELED' });

  const leaving = await world.subscriber();
  await disputeLatest(leaving);
  const change = { requestId: randomUUID(), subscriptionId: leaving.subscriptionId, priceId: world.prices.premium };
  const changing = api.subscriptions.changePlan(change, { token: leaving.token });
  t.is(await refused(t, changing), 'FAILED_PRECONDITION DISPUTE_OPEN');
  const cancel = { requestId: randomUUID(), subscriptionId: leaving.subscriptionId, effective: CancelEffective.NOW };
  const canceled = await api.subscriptions.cancelSubscription(cancel, { token: leaving.token });
  t.truthy(canceled.subscription?.endedAt);
  await settled();
  t.is((await chargesOf(leaving))[0]!.refunded_minor, '0');
});

test.serial(
  'an upgrade whose money is lost ends the period that it was for, though days were given since',
  async (t) => {
    const viewer = await world.subscriber();
    const { subscriptionId, token } = viewer;
    await world.advance({ days: 3 });
    const asked = { requestId: randomUUID(), subscriptionId, priceId: world.prices.premium };
    await api.subscriptions.changePlan(asked, { token });
    await settled();
    t.is((await chargesOf(viewer)).length, 2, 'the upgrade was paid');
    const given = { requestId: randomUUID(), reason: 'the stream broke', subscriptionId, days: 5 };
    await api.subscriptionAdmin.extendPeriod(given, support);
    const id = await disputeLatest(viewer);
    await world.paymentSystem.closeDispute(id, 'lost');
    await settled();
    t.like(await stateOf(viewer), { status: 'CANCELED' });
    await authHas(viewer, []);
    await booksHold(t);
  },
);

test.serial(
  'an upgrade of an earlier period whose money is lost takes nothing from the one that is paid',
  async (t) => {
    const viewer = await world.subscriber();
    const { subscriptionId, token } = viewer;
    await world.advance({ days: 3 });
    const asked = { requestId: randomUUID(), subscriptionId, priceId: world.prices.premium };
    await api.subscriptions.changePlan(asked, { token });
    await world.advance({ days: 32 });
    const charges = await chargesOf(viewer);
    t.is(charges.length, 3, 'first, upgrade, renewal');
    const id = await world.paymentSystem.dispute(charges[1]!.id);
    await settled();
    await world.paymentSystem.closeDispute(id, 'lost');
    await settled();
    t.like(await stateOf(viewer), { status: 'ACTIVE', blocked: true });
  },
);

/** The payment system tells of nothing that happens to the viewer from now on. */
const silence = ({ userId }: Pick<Viewer, 'userId'>) => world.paymentSystem.script(userId, { webhooks: 'lost' });

test.serial('a dispute whose every notice is lost is known, and blocks the renewal, within a day; once', async (t) => {
  const viewer = await world.subscriber();
  await settled();
  await silence(viewer);
  await disputeLatest(viewer);
  await world.advance({ days: 1 });
  t.like(await stateOf(viewer), { status: 'ACTIVE', blocked: true, charges: false });
  const written = [`CHARGED ${monthly}`, `DISPUTED ${monthly}`];
  t.deepEqual(await factsOf(viewer), written);
  const { disputes } = await api.paymentAdmin.listDisputes({ userId: viewer.userId }, support);
  t.like(disputes, [{ state: DisputeState.OPEN, reason: 'fraudulent' }]);
  const notices = () =>
    world.query(`select 1 from customer_notice where user_id = $1`, [viewer.userId]).then(({ length }) => length);
  t.is(await notices(), 1, 'the viewer is told');

  for (let day = 0; day < 3; day++) await world.advance({ days: 1 });
  t.deepEqual(await factsOf(viewer), written, 'it is listed every day, and written down once');
  t.deepEqual(await historyOf(viewer), ['SUBSCRIBED', 'ACTIVATED', 'DISPUTE_OPENED']);
  t.is(await notices(), 1);
  await booksHold(t);
});

test.serial('however far time is moved at once, a lost dispute is found before the renewal', async (t) => {
  const viewer = await world.subscriber();
  await settled();
  await silence(viewer);
  const id = await disputeLatest(viewer);
  await world.advance({ days: 40 });
  t.is((await chargesOf(viewer)).length, 1, 'nothing was charged');
  t.like(await stateOf(viewer), { status: 'CANCELED', cycle: 0 });
  t.deepEqual(await historyOf(viewer), ['SUBSCRIBED', 'ACTIVATED', 'DISPUTE_OPENED', 'CANCELED DISPUTE']);
  const [late] = await world.query(
    `select e.occurred_at - s.created_at <= interval '1 day' as within from subscription_event e
     join subscription s on s.id = e.subscription_id where e.subscription_id = $1 and e.kind = 'DISPUTE_OPENED'`,
    [viewer.subscriptionId],
  );
  t.true(late!['within']);
  // Decided after the end of everything, and not told either: the journal has it all the same.
  await world.paymentSystem.closeDispute(id, 'won');
  await world.advance({ days: 1 });
  // The look at a dispute that is known has no lease that the clock would wait for.
  await waitUntil('the daily look is settled', async () => (await factsOf(viewer)).length === 3);
  t.deepEqual(await factsOf(viewer), [`CHARGED ${monthly}`, `DISPUTED ${monthly}`, `REINSTATED ${monthly}`]);
  await booksHold(t);
});

test.serial('a dispute that is opened and decided without a word is found as it ended', async (t) => {
  const [lost, won] = [await world.subscriber(), await world.subscriber()];
  await settled();
  for (const viewer of [lost, won]) await silence(viewer);
  await world.paymentSystem.closeDispute(await disputeLatest(lost), 'lost');
  await world.paymentSystem.closeDispute(await disputeLatest(won), 'won');
  await world.advance({ days: 1 });
  t.like(await stateOf(lost), { status: 'CANCELED' });
  t.deepEqual(await factsOf(lost), [`CHARGED ${monthly}`, `DISPUTED ${monthly}`]);
  t.like(await stateOf(won), { status: 'ACTIVE', blocked: false, charges: true });
  t.deepEqual(await factsOf(won), [`CHARGED ${monthly}`, `DISPUTED ${monthly}`, `REINSTATED ${monthly}`]);
  await booksHold(t);
});

test.serial('a dispute of a payment that is not ours is told of once, as an error, and changes nothing', async (t) => {
  const merchant = merchantOf(() => world.paymentSystem);
  const userId = randomUUID();
  await silence({ userId });
  const { id: paymentId, page_url: pageUrl } = await merchant.openCheckout({ customer_reference: userId });
  await world.paymentSystem.pay(pageUrl!);
  const id = await world.paymentSystem.dispute(paymentId);
  for (let day = 0; day < 3; day++) await world.advance({ days: 1 });
  const told = world.service.log
    .filter((line) => line.includes(id))
    .map((line) => JSON.parse(line) as { level: number; msg: string });
  t.deepEqual(
    told.map(({ level, msg }) => [level, msg]),
    [[50, 'dispute of a payment that is not ours']],
  );
  t.deepEqual(await world.query(`select 1 from dispute where provider_dispute_id = $1`, [id]), []);
});
