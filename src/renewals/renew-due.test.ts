import test from 'ava';
import { startWorld, type World } from '../testing/world.ts';
import { waitUntil } from '../testing/wait-until.ts';

const softLater = '4000000000000341';
const hardLater = '4000000000009979';
const neverAnswers = '4000000000009987';

async function chargesOf(world: World, userId: string) {
  return (await world.paymentSystem.payments()).filter((payment) => payment.customer_reference === userId);
}

async function stateOf(world: World, subscriptionId: string) {
  const [row] = await world.query(
    `select status, cycle, current_period_start::text as start, current_period_end::text as end,
       next_charge_at::text as due, open_payment_id as open from subscription where id = $1`,
    [subscriptionId],
  );
  return row!;
}

test.serial(
  'a month later the subscription is charged once and the next period begins where the last one ended',
  async (t) => {
    const world = await startWorld({ at: '2027-01-31T09:00:00Z' });
    try {
      const { userId, subscriptionId } = await world.subscriber();
      await world.advance({ days: 29 });
      t.deepEqual(await stateOf(world, subscriptionId), {
        status: 'ACTIVE',
        cycle: 1,
        start: '2027-02-28 09:00:00+00',
        end: '2027-03-31 09:00:00+00',
        due: '2027-03-31 09:00:00+00',
        open: null,
      });
      const charges = await chargesOf(world, userId);
      t.deepEqual(
        charges.map(({ kind, status, amount_minor }) => [kind, status, String(amount_minor)]),
        [
          ['checkout', 'succeeded', '29900'],
          ['off_session', 'succeeded', '29900'],
        ],
      );
      const rights = await waitUntil('Auth has the longer lease', async () => {
        const user = await world.auth.user(userId);
        return user.version === 2 && user;
      });
      t.is(rights.rights_version, 1);
      t.deepEqual(
        rights.grants.map(({ access_until }) => access_until),
        ['2027-04-03T09:00:00.000Z'],
      );
    } finally {
      await world.stop();
    }
  },
);

test.serial('nothing is charged a millisecond before it is due', async (t) => {
  const world = await startWorld();
  try {
    const { userId, subscriptionId } = await world.subscriber();
    const [row] = await world.query(
      `select next_charge_at - interval '1 millisecond' as at from subscription where id = $1`,
      [subscriptionId],
    );
    await world.query(`update sandbox_clock set set_to = $1`, [row!['at']]);
    await world.advance({ hours: 0 });
    t.is((await chargesOf(world, userId)).length, 1);
    await world.query(`update sandbox_clock set set_to = set_to + interval '1 millisecond'`);
    await waitUntil('the renewal', async () => (await chargesOf(world, userId)).length === 2);
  } finally {
    await world.stop();
  }
});

test.serial('a charge whose answer never came is found at the payment system and renews once', async (t) => {
  const world = await startWorld();
  try {
    const { userId, subscriptionId } = await world.subscriber(neverAnswers);
    await world.advance({ days: 32 });
    t.is((await stateOf(world, subscriptionId))['cycle'], 1);
    t.is((await chargesOf(world, userId)).length, 2);
    const attempts = await world.query(
      `select attempt_number, state from payment_attempt where subscription_id = $1 and kind = 'charge'`,
      [subscriptionId],
    );
    t.deepEqual(attempts, [{ attempt_number: 1, state: 'SUCCEEDED' }]);
  } finally {
    await world.stop();
  }
});

test.serial(
  'a soft decline is tried again on days 1, 3, 7 and 14; access ends with the grace, the subscription with the dunning',
  async (t) => {
    const world = await startWorld();
    try {
      const { userId, subscriptionId } = await world.subscriber(softLater);
      await world.advance({ days: 32 });
      t.is((await stateOf(world, subscriptionId))['status'], 'PAST_DUE');
      const inGrace = await waitUntil('Auth knows of the grace', async () => {
        const user = await world.auth.user(userId);
        return user.version === 2 && user;
      });
      t.deepEqual(
        inGrace.grants.map(({ access_until, in_grace }) => [access_until, in_grace]),
        // The renewal was due on 15 February at 09:00 and failed then; grace is 7 days.
        [['2027-02-22T09:00:00.000Z', true]],
      );
      await world.advance({ days: 20 });
      t.is((await stateOf(world, subscriptionId))['status'], 'CANCELED');
      const tries = await world.query(
        `select attempt_number as n, created_at::text as at from payment_attempt
       where subscription_id = $1 and kind = 'charge' order by attempt_number`,
        [subscriptionId],
      );
      t.is(tries.length, 5);
      // Each retry up to six hours after its day; the first and the last exactly.
      const spans = ['15 09:00:00', '16 (09|1[0-4])', '18 (09|1[0-4])', '22 (09|1[0-4])'];
      for (const [index, span] of spans.entries()) t.regex(String(tries[index]!['at']), new RegExp(`^2027-02-${span}`));
      t.is(tries[4]!['at'], '2027-03-01 09:00:00+00');
      const history = await world.query(
        `select kind, occurred_at::text as at from subscription_event where subscription_id = $1
       and kind in ('GRACE_ENDED', 'CANCELED') order by occurred_at`,
        [subscriptionId],
      );
      t.deepEqual(history, [
        { kind: 'GRACE_ENDED', at: '2027-02-22 09:00:00+00' },
        { kind: 'CANCELED', at: '2027-03-01 09:00:00+00' },
      ]);
      const succeeded = (await chargesOf(world, userId)).filter(({ status }) => status === 'succeeded');
      t.is(succeeded.length, 1);
    } finally {
      await world.stop();
    }
  },
);

test.serial('a hard decline is never tried again', async (t) => {
  const world = await startWorld();
  try {
    const { subscriptionId } = await world.subscriber(hardLater);
    await world.advance({ days: 60 });
    t.is((await stateOf(world, subscriptionId))['status'], 'CANCELED');
    const tries = await world.query(
      `select state from payment_attempt where subscription_id = $1 and kind = 'charge'`,
      [subscriptionId],
    );
    t.deepEqual(tries, [{ state: 'DECLINED' }]);
  } finally {
    await world.stop();
  }
});

test.serial(
  'after 70 days without any replica the viewer is told a day ahead, then charged once, and what passed whole is forgiven',
  async (t) => {
    const world = await startWorld();
    try {
      const { userId, subscriptionId } = await world.subscriber();
      const recent = await world.subscriber();
      await world.query(`update plan set trial_days = 30 where code = 'basic'`);
      const trial = await world.subscriber('4000056655665556', { withTrial: true });
      const looks = () => world.query(`select 1 from renewal_watch`);
      await waitUntil('somebody has looked for due charges', async () => (await looks()).length === 1);
      await world.service.stop();
      // It came due two days before the service came back, which nobody was told of either.
      await world.query(`update subscription set next_charge_at = '2027-04-24T09:00:00Z' where id = $1`, [
        recent.subscriptionId,
      ]);
      await world.query(`update sandbox_clock set set_to = set_to + interval '31 days' + interval '70 days'`);
      await world.query(`update renewal_watch set seen_at = seen_at - interval '101 days'`);
      world.service = await world.startReplica();
      const told = () =>
        world.query(
          `select kind, body->'renewalUpcoming'->>'chargedAt' as at, body->'renewalUpcoming'->'amount' as amount
           from customer_notice where user_id = $1`,
          [userId],
        );
      // The service came back on 26 April at 09:00.
      const notice = {
        kind: 'renewalUpcoming',
        at: '2027-04-27T09:00:00Z',
        amount: { currencyCode: 'RUB', amountMinor: '29900' },
      };
      await waitUntil('the notice', async () => (await told()).length === 1);
      t.deepEqual(await told(), [notice]);
      t.is((await stateOf(world, subscriptionId))['due'], '2027-04-27 09:00:00+00');
      const others = () =>
        world.query(
          `select user_id, kind, coalesce(body->'renewalUpcoming', body->'trialEnding')->>'chargedAt' as at
           from customer_notice where user_id <> $1 order by kind`,
          [userId],
        );
      const tomorrow = { at: '2027-04-27T09:00:00Z' };
      await waitUntil('the others are told', async () => (await others()).length >= 2);
      t.deepEqual(await others(), [
        { user_id: recent.userId, kind: 'renewalUpcoming', ...tomorrow },
        { user_id: trial.userId, kind: 'trialEnding', ...tomorrow },
      ]);
      await world.advance({ hours: 23.9 });
      t.is((await chargesOf(world, userId)).length, 1, 'nothing is charged before');
      t.is((await chargesOf(world, recent.userId)).length, 1);
      t.is((await others()).length, 2, 'each was told once');
      await world.advance({ hours: 0.2 });
      await waitUntil('the renewal', async () => (await chargesOf(world, userId)).length === 2);
      await waitUntil('the settle', async () => (await stateOf(world, subscriptionId))['open'] === null);
      // Taken out on 15 January; 26 April lies in the period from 15 April to 15 May.
      const state = await stateOf(world, subscriptionId);
      t.is(state['start'], '2027-04-15 09:00:00+00');
      t.is(state['end'], '2027-05-15 09:00:00+00');
      const forgiven = await world.query(
        `select reason from subscription_event where subscription_id = $1 and kind = 'PERIOD_FORGIVEN' order by reason`,
        [subscriptionId],
      );
      t.deepEqual(forgiven, [
        { reason: '2027-02-15T09:00:00Z/2027-03-15T09:00:00Z' },
        { reason: '2027-03-15T09:00:00Z/2027-04-15T09:00:00Z' },
      ]);
      await world.advance({ hours: 1 });
      t.is((await chargesOf(world, userId)).length, 2);
      t.deepEqual(await told(), [notice]);
      const postponed = await world.query(
        `select reason from subscription_event where subscription_id = $1 and kind = 'CHARGE_POSTPONED'`,
        [subscriptionId],
      );
      t.deepEqual(postponed, [{ reason: 'BILLING_WAS_AWAY' }]);
    } finally {
      await world.stop();
    }
  },
);
