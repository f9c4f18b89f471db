import { randomUUID } from 'node:crypto';
import test from 'ava';
import {
  CustomerOrder,
  type ListCustomersResponse,
} from '@cinema-billing/gen/billing/admin/v1/customer_admin_service_pb.ts';
import { SubscriptionStatus } from '@cinema-billing/gen/billing/v1/subscription_pb.ts';
import { CancelEffective } from '@cinema-billing/gen/billing/v1/subscription_service_pb.ts';
import { refused } from '../testing/refused.ts';
import { startWorld, type World } from '../testing/world.ts';

let world: World;
let api: ReturnType<World['clients']>;
let support: { token: string };
let admin: { token: string };
test.before(async () => {
  world = await startWorld();
  api = world.clients();
  support = { token: await world.auth.token({ sub: 'sasha', role: 'support' }) };
  admin = { token: await world.auth.token({ sub: 'olga', role: 'admin' }) };
});
test.after.always(() => world?.stop());

const head = (reason = 'the viewer called') => ({ requestId: randomUUID(), reason });
const row = async (text: string, ...values: unknown[]) => (await world.query(text, values))[0]!;
const users = ({ customers }: ListCustomersResponse) => customers.map(({ userId }) => userId);
const paymentOf = async (subscriptionId: string) =>
  String((await row(`select id from payment where subscription_id = $1 order by created_at`, subscriptionId))['id']);

test.serial(
  'a customer is found by user, subscription and payment id, by the provider’s id, and by the statement',
  async (t) => {
    const viewer = await world.subscriber();
    await world.subscriber();
    const paymentId = await paymentOf(viewer.subscriptionId);
    const attempt = await row(`select provider_payment_id from payment_attempt where payment_id = $1`, paymentId);
    const method = await row(`select last4 from payment_method where user_id = $1`, viewer.userId);
    const queries = [viewer.userId, viewer.userId.toUpperCase(), viewer.subscriptionId, paymentId];
    for (const query of [...queries, String(attempt['provider_payment_id'])]) {
      t.deepEqual(users(await api.customerAdmin.listCustomers({ query }, support)), [viewer.userId], query);
    }
    t.deepEqual(users(await api.customerAdmin.listCustomers({ query: 'pay_nobody' }, support)), []);
    const amount = { currencyCode: 'RUB', amountMinor: 29_900n };
    const card = { last4: String(method['last4']), amount, paidOn: '2027-01-15' };
    const byCard = async (more: object) =>
      users(await api.customerAdmin.listCustomers({ card: { ...card, ...more } }, support));
    t.true((await byCard({})).includes(viewer.userId));
    t.deepEqual(await byCard({ paidOn: '2027-01-14' }), []);
    t.deepEqual(await byCard({ last4: '0001' }), []);
    t.deepEqual(await byCard({ amount: { ...amount, amountMinor: 29_901n } }), []);
    t.is(await refused(t, byCard({ paidOn: '2027-02-30' })), 'INVALID_ARGUMENT INVALID_FIELDS');
  },
);

test.serial(
  'a search for an e-mail address finds all who gave it, in any case, and nobody by a part of it',
  async (t) => {
    const email = 'Family+Kino@example.com';
    const [anna, boris] = [randomUUID(), randomUUID()];
    for (const [sub, given] of [
      [anna, email],
      [boris, email.toUpperCase()],
      [randomUUID(), 'other@example.com'],
    ] as const) {
      const token = await world.auth.token({ sub });
      const asked = { requestId: randomUUID(), priceId: world.prices.basic, email: given };
      await api.subscriptions.subscribe(asked, { token });
    }
    const found = async (query: string) => users(await api.customerAdmin.listCustomers({ query }, support)).toSorted();
    for (const query of [email, ' family+kino@EXAMPLE.com ']) t.deepEqual(await found(query), [anna, boris].toSorted());
    for (const query of ['@example.com', 'kino@example.com', 'family%@example.com', 'family_kino@example.com']) {
      t.deepEqual(await found(query), [], query);
    }
  },
);

test.serial(
  'the address in a viewer’s token is kept until the viewer gives another one, and never over one',
  async (t) => {
    const sub = randomUUID();
    const found = async (query: string) => users(await api.customerAdmin.listCustomers({ query }, support));
    const subscribe = async (claimed: string, email: string) => {
      const token = await world.auth.token({ sub, email: claimed });
      await api.subscriptions.subscribe({ requestId: randomUUID(), priceId: world.prices.basic, email }, { token });
    };
    await subscribe('claimed@cinema.test', '');
    t.deepEqual(await found('claimed@cinema.test'), [sub]);
    await subscribe('claimed@cinema.test', 'given@cinema.test');
    await subscribe('claimed@cinema.test', '');
    t.deepEqual(await found('claimed@cinema.test'), []);
    t.deepEqual(await found('given@cinema.test'), [sub]);
  },
);

test.serial('the registry has who was ever active, in pages that a new customer does not shift', async (t) => {
  const unpaid = randomUUID();
  const token = await world.auth.token({ sub: unpaid });
  await api.subscriptions.subscribe({ requestId: randomUUID(), priceId: world.prices.basic }, { token });
  const all = users(await api.customerAdmin.listCustomers({ pageSize: 500 }, support));
  const known = await world.query(`select user_id from subscription where current_period_start is not null`);
  t.deepEqual(all.toSorted(), known.map((found) => String(found['user_id'])).sort());
  t.false(all.includes(unpaid));
  const everybody = await api.customerAdmin.listCustomers({ pageSize: 500, includeNeverActive: true }, support);
  t.true(users(everybody).includes(unpaid));
  const first = await api.customerAdmin.listCustomers({ pageSize: 1 }, support);
  await world.advance({ hours: 1 });
  await world.subscriber();
  const next = await api.customerAdmin.listCustomers({ pageSize: 1, pageToken: first.nextPageToken }, support);
  t.deepEqual([...users(first), ...users(next)], all.slice(0, 2));
  const other = api.customerAdmin.listCustomers({ pageSize: 1, pageToken: first.nextPageToken }, admin);
  t.is(await refused(t, other), 'INVALID_ARGUMENT PAGE_TOKEN_INVALID');
});

test.serial('the exported file has everybody whom the search finds, each once, in parts of 500 lines', async (t) => {
  // More than one part, of viewers who never paid.
  await world.query(`insert into customer (user_id, created_at)
    select gen_random_uuid(), timestamptz '2020-01-01' + i * interval '1 minute' from generate_series(1, 700) i`);
  const parts: string[] = [];
  let pageToken = '';
  do {
    const search = { includeNeverActive: true, pageToken };
    const part = await api.customerAdmin.exportCustomers({ search }, support);
    parts.push(part.csv);
    pageToken = part.nextPageToken;
  } while (pageToken !== '');
  t.true(parts.length >= 2);
  const [header, ...lines] = parts.join('').trimEnd().split('\r\n');
  t.is(header, 'user_id,created_at,plan_code,status,currency,amount_minor,subscriptions');
  const known = await world.query(`select user_id from customer`);
  t.deepEqual(
    lines.map((line) => line.split(',')[0]).toSorted(),
    known.map((one) => String(one['user_id'])).toSorted(),
  );
  const viewer = await world.subscriber();
  const one = await api.customerAdmin.exportCustomers({ search: { query: viewer.userId } }, support);
  t.regex(one.csv.split('\r\n')[1]!, new RegExp(`^${viewer.userId},2027-[^,]+Z,basic,ACTIVE,RUB,29900,1$`));
  t.is(
    await refused(t, api.customerAdmin.exportCustomers({ search: { pageToken: 'x' } }, support)),
    'INVALID_ARGUMENT PAGE_TOKEN_INVALID',
  );
  await world.query(`delete from customer where created_at < timestamptz '2021-01-01'`);
});

test.serial('the registry shows the newest subscription with the number of all, and who never had one', async (t) => {
  const [userId, nobody] = [randomUUID(), randomUUID()];
  await world.query(`insert into customer values ($1, '2020-01-01'), ($2, '2020-01-02')`, [userId, nobody]);
  const give = async (priceId: string) => {
    const asked = { ...head(), userId, priceId, days: 3 };
    const { subscription } = await api.subscriptionAdmin.grantSubscription(asked, support);
    return subscription!.subscription!.id;
  };
  const first = await give(world.prices.premium);
  const end = { ...head(), subscriptionId: first, effective: CancelEffective.NOW };
  await api.subscriptionAdmin.cancelSubscription(end, support);
  await world.advance({ hours: 1 });
  const second = await give(world.prices.basic);
  const registered = { includeNeverActive: true, order: CustomerOrder.OLDEST_FIRST, pageSize: 2 };
  const { customers } = await api.customerAdmin.listCustomers(registered, support);
  t.deepEqual(
    customers.map((customer) => [
      customer.userId,
      customer.subscriptionCount,
      customer.subscription?.id,
      customer.subscription?.planCode,
      customer.subscription?.price?.amount?.amountMinor,
      customer.subscription?.status,
    ]),
    [
      [userId, 2n, second, 'basic', 29_900n, SubscriptionStatus.ACTIVE],
      [nobody, 0n, undefined, undefined, undefined, undefined],
    ],
  );
  const found = async (more: object) =>
    users(await api.customerAdmin.listCustomers({ query: userId, ...more }, support)).length;
  t.is(await found({ planCode: 'basic', status: SubscriptionStatus.ACTIVE }), 1);
  t.is(await found({ planCode: 'premium' }), 0, 'that was an earlier one');
  t.is(await found({ status: SubscriptionStatus.CANCELED }), 0);
  await world.query(`delete from customer where user_id = $1`, [nobody]);
});
