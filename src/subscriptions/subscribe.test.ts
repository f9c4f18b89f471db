import { createHmac, randomUUID } from 'node:crypto';
import test from 'ava';
import { SubscriptionStatus } from '@cinema-billing/gen/billing/v1/subscription_pb.ts';
import { RpcError } from '../cli/grpc-client.ts';
import { startWorld, type Row, type World } from '../testing/world.ts';
import { waitUntil } from '../testing/wait-until.ts';

let world: World;
test.before(async () => {
  world = await startWorld();
});
test.after.always(() => world?.stop());

/** All that may change when money comes, as the database has it. */
async function everything(userId: string): Promise<Row[]> {
  return world.query(
    `select s.status, s.current_period_end, s.open_payment_id, e.version, e.grants,
       (select count(*)::int from subscription_event h where h.user_id = s.user_id) as history,
       (select count(*)::int from outbox_message o where o.user_id = s.user_id) as messages,
       (select count(*)::int from payment p where p.user_id = s.user_id) as payments
     from subscription s left join entitlement e on e.user_id = s.user_id where s.user_id = $1`,
    [userId],
  );
}

function sign(body: Buffer, secret = world.paymentSystem.webhookSecret): string {
  const t = Math.floor(Date.now() / 1000);
  return `t=${t},v1=${createHmac('sha256', secret).update(`${t}.`).update(body).digest('hex')}`;
}

function deliver(body: Buffer, signature: string): Promise<Response> {
  return fetch(`${world.service.httpUrl}/v1/webhooks/sandbox`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'sandbox-signature': signature },
    body: new Uint8Array(body),
  });
}

async function noticeOfSuccess(subscriptionId: string): Promise<Buffer> {
  const [row] = await world.query(
    `select e.payload from webhook_event e join payment_attempt a on a.id::text = e.reference
     where a.subscription_id = $1 and e.type = 'payment.succeeded'`,
    [subscriptionId],
  );
  return row!['payload'] as Buffer;
}

test.serial('subscribe, pay, and the notice activates: the period runs from the payment for one month', async (t) => {
  const { userId, subscriptionId, token } = await world.subscriber();
  const { subscriptions } = world.clients();
  const { subscription } = await subscriptions.getSubscription({ subscriptionId }, { token });
  t.is(subscription!.status, SubscriptionStatus.ACTIVE);
  t.is(subscription!.userId, userId);
  const [row] = await world.query(
    `select current_period_start::text as start, current_period_end::text as end, next_charge_at::text as due
     from subscription where id = $1`,
    [subscriptionId],
  );
  t.deepEqual(row, { start: '2027-01-15 09:00:00+00', end: '2027-02-15 09:00:00+00', due: '2027-02-15 09:00:00+00' });
  const rights = await waitUntil('Auth has the rights', async () => {
    const user = await world.auth.user(userId);
    return user.version > 0 && user;
  });
  t.deepEqual(
    rights.grants.map(({ features, access_until }) => ({ features, access_until })),
    [
      // The period's end and the margin of 72 hours.
      { features: ['catalog.base'], access_until: '2027-02-18T09:00:00.000Z' },
    ],
  );
});

test.serial('the same notice ten times in a row and ten times at once changes nothing more', async (t) => {
  const { userId, subscriptionId } = await world.subscriber();
  const body = await noticeOfSuccess(subscriptionId);
  await waitUntil('the notice is worked off', async () => {
    const open = await world.query(`select 1 from webhook_event where state = 'RECEIVED'`);
    return open.length === 0;
  });
  const before = await everything(userId);
  t.is(before[0]!['status'], 'ACTIVE');
  for (let time = 0; time < 10; time++) t.is((await deliver(body, sign(body))).status, 200);
  const answers = await Promise.all(Array.from({ length: 10 }, () => deliver(body, sign(body))));
  t.deepEqual(
    answers.map(({ status }) => status),
    Array.from({ length: 10 }, () => 200),
  );
  t.deepEqual(await everything(userId), before);
  const stored = await world.query(
    `select count(*)::int as n from webhook_event e join payment_attempt a on a.id::text = e.reference
     where a.subscription_id = $1 and e.type = 'payment.succeeded'`,
    [subscriptionId],
  );
  t.is(stored[0]!['n'], 1);
});

test.serial('ten notices with other event ids about the same payment, all at once, change nothing more', async (t) => {
  const { userId, subscriptionId } = await world.subscriber();
  const notice = JSON.parse((await noticeOfSuccess(subscriptionId)).toString()) as { id: string };
  const before = await everything(userId);
  const bodies = Array.from({ length: 10 }, (_, n) =>
    Buffer.from(JSON.stringify({ ...notice, id: `${notice.id}-${n}` })),
  );
  const answers = await Promise.all(bodies.map((body) => deliver(body, sign(body))));
  t.deepEqual(
    answers.map(({ status }) => status),
    bodies.map(() => 200),
  );
  await waitUntil('they are worked off', async () => {
    const done = await world.query(
      `select 1 from webhook_event where provider_event_id like $1 and state = 'PROCESSED'`,
      [`${notice.id}-%`],
    );
    return done.length === 10;
  });
  t.deepEqual(await everything(userId), before);
});

test.serial('a notice with one wrong byte gets 400 and leaves no row', async (t) => {
  const { userId, subscriptionId } = await world.subscriber();
  const body = await noticeOfSuccess(subscriptionId);
  const before = await everything(userId);
  const stored = () =>
    world.query(
      `select e.provider_event_id, e.state from webhook_event e join payment_attempt a on a.id::text = e.reference
       where a.subscription_id = $1`,
      [subscriptionId],
    );
  await waitUntil('the notice is worked off', async () => (await stored()).every(({ state }) => state === 'PROCESSED'));
  const rows = await stored();
  t.is(rows.length, 1);
  const signature = sign(body);
  const changed = Buffer.from(body);
  changed[10] = changed[10]! ^ 1;
  const answer = await deliver(changed, signature);
  t.is(answer.status, 400);
  t.regex(await answer.text(), /WEBHOOK_SIGNATURE_INVALID/);
  t.is((await deliver(body, sign(body, 'another-secret-of-the-same-length'))).status, 400);
  t.deepEqual(await everything(userId), before);
  t.deepEqual(await stored(), rows);
});

test.serial(
  'a forged notice of a payment that was not made activates nothing, however well it is signed',
  async (t) => {
    const userId = randomUUID();
    const token = await world.auth.token({ sub: userId });
    const { subscriptions } = world.clients();
    const { subscription } = await subscriptions.subscribe(
      { requestId: randomUUID(), priceId: world.prices.basic },
      { token },
    );
    const [attempt] = await world.query(
      `select id, provider_payment_id from payment_attempt where subscription_id = $1`,
      [subscription!.id],
    );
    const payment = {
      id: attempt!['provider_payment_id'],
      reference: attempt!['id'],
      status: 'succeeded',
      amount_minor: '29900',
      currency: 'RUB',
    };
    const body = Buffer.from(
      JSON.stringify({
        id: `evt_${randomUUID()}`,
        type: 'payment.succeeded',
        created_at: '2027-01-15T09:00:00Z',
        data: { payment },
      }),
    );
    t.is((await deliver(body, sign(body))).status, 200);
    await waitUntil('the notice is worked off', async () => {
      const rows = await world.query(`select 1 from webhook_event where reference = $1 and state <> 'RECEIVED'`, [
        attempt!['id'],
      ]);
      return rows.length === 1;
    });
    const [row] = await world.query(`select status from subscription where id = $1`, [subscription!.id]);
    t.is(row!['status'], 'INCOMPLETE');
  },
);

test.serial('a repeat with the same request id gets the same answer, and one checkout exists', async (t) => {
  const token = await world.auth.token({ sub: randomUUID() });
  const { subscriptions } = world.clients();
  const request = { requestId: randomUUID(), priceId: world.prices.premium };
  const first = await subscriptions.subscribe(request, { token });
  const again = await subscriptions.subscribe(request, { token });
  t.deepEqual(again, first);
  const reused = await t.throwsAsync(subscriptions.subscribe({ ...request, priceId: world.prices.basic }, { token }), {
    instanceOf: RpcError,
  });
  t.is(reused!.code, 'INVALID_ARGUMENT');
  t.is(reused!.reason, 'REQUEST_ID_REUSED');
  const payments = await world.paymentSystem.payments();
  t.is(payments.filter(({ page_url }) => page_url === first.checkout!.url).length, 1);
});

test.serial('twenty calls of one viewer at once leave one open subscription and one checkout', async (t) => {
  const userId = randomUUID();
  const token = await world.auth.token({ sub: userId });
  const { subscriptions } = world.clients();
  const calls = await Promise.allSettled(
    Array.from({ length: 20 }, () =>
      subscriptions.subscribe({ requestId: randomUUID(), priceId: world.prices.basic }, { token }),
    ),
  );
  const urls = calls.flatMap((call) => (call.status === 'fulfilled' ? [call.value.checkout!.url] : []));
  t.true(urls.length >= 1);
  t.is(new Set(urls).size, 1);
  for (const call of calls) {
    if (call.status === 'rejected') t.true(['ABORTED', 'UNAVAILABLE'].includes((call.reason as RpcError).code));
  }
  const rows = await world.query(`select status from subscription where user_id = $1`, [userId]);
  t.deepEqual(rows, [{ status: 'INCOMPLETE' }]);
  const made = (await world.paymentSystem.payments()).filter((payment) => payment.customer_reference === userId);
  t.is(made.length, 1);
});

test.serial('another plan kills the first checkout at the payment system before the new one is opened', async (t) => {
  const userId = randomUUID();
  const token = await world.auth.token({ sub: userId });
  const { subscriptions } = world.clients();
  const first = await subscriptions.subscribe({ requestId: randomUUID(), priceId: world.prices.basic }, { token });
  const second = await subscriptions.subscribe({ requestId: randomUUID(), priceId: world.prices.premium }, { token });
  const payments = await world.paymentSystem.payments();
  const statusOf = (url: string) => payments.find(({ page_url }) => page_url === url)?.status;
  t.is(statusOf(first.checkout!.url), 'expired');
  t.is(statusOf(second.checkout!.url), 'open');
  const rows = await world.query(`select status from subscription where user_id = $1 order by created_at, id`, [
    userId,
  ]);
  t.deepEqual(rows, [{ status: 'INCOMPLETE_EXPIRED' }, { status: 'INCOMPLETE' }]);
});

test.serial('money whose answer never reached the payer activates all the same', async (t) => {
  const userId = randomUUID();
  const token = await world.auth.token({ sub: userId });
  const { subscriptions } = world.clients();
  const { subscription, checkout } = await subscriptions.subscribe(
    { requestId: randomUUID(), priceId: world.prices.basic },
    { token },
  );
  const abort = new AbortController();
  const body = new URLSearchParams({ card: '4000000000009995', action: 'pay' });
  const never = fetch(checkout!.url, { method: 'POST', body, signal: abort.signal }).catch(() => 'no answer');
  await waitUntil('the notice activates', async () => {
    const [row] = await world.query(`select status from subscription where id = $1`, [subscription!.id]);
    return row?.['status'] === 'ACTIVE';
  });
  abort.abort();
  t.is(await never, 'no answer');
});

test.serial('a checkout that nobody pays ends after its time, and nothing was granted', async (t) => {
  const own = await startWorld();
  try {
    const userId = randomUUID();
    const token = await own.auth.token({ sub: userId });
    const { subscriptions } = own.clients();
    const { checkout } = await subscriptions.subscribe(
      { requestId: randomUUID(), priceId: own.prices.basic },
      { token },
    );
    await own.advance({ hours: 24 });
    const rows = await own.query(
      `select s.status, (select count(*)::int from outbox_message) as messages,
         (select array_agg(kind order by occurred_at) from subscription_event) as history from subscription s`,
    );
    t.deepEqual(rows, [{ status: 'INCOMPLETE_EXPIRED', messages: 0, history: ['SUBSCRIBED', 'EXPIRED'] }]);
    const [payment] = await own.paymentSystem.payments();
    t.is(payment!.page_url, checkout!.url);
    t.is(payment!.status, 'expired');
  } finally {
    await own.stop();
  }
});
