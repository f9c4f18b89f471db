import { randomUUID } from 'node:crypto';
import test from 'ava';
import type { AdminPlan } from '@cinema-billing/gen/billing/admin/v1/plan_admin_service_pb.ts';
import { IntervalUnit } from '@cinema-billing/gen/billing/v1/plan_pb.ts';
import { RpcError } from '../cli/grpc-client.ts';
import { refused } from '../testing/refused.ts';
import { waitUntil } from '../testing/wait-until.ts';
import { startWorld, type World } from '../testing/world.ts';

let world: World;
let admin: { token: string };
let api: ReturnType<World['clients']>;
test.before(async () => {
  world = await startWorld();
  admin = { token: await world.auth.token({ sub: 'olga', role: 'admin' }) };
  api = world.clients();
});
test.after.always(() => world?.stop());

const head = (reason = 'a test') => ({ requestId: randomUUID(), reason });
const monthly = (currencyCode: string, amountMinor: bigint) => ({
  amount: { currencyCode, amountMinor },
  intervalUnit: IntervalUnit.MONTH,
  intervalCount: 1,
});

async function create(code: string, more: Record<string, unknown> = {}): Promise<AdminPlan> {
  const prices = [monthly('RUB', 59_900n), monthly('KZT', 299_000n)];
  const request = { ...head(), code, name: 'Плюс', features: ['video.uhd', 'catalog.base', 'video.uhd'], prices };
  const { plan } = await api.planAdmin.createPlan({ ...request, ...more }, admin);
  return plan!;
}

const codes = async (currencyCode = '') =>
  (await api.plans.listPlans({ currencyCode })).plans.map((plan) => plan.code).sort();

test('a new plan is on sale at once, in each of its currencies, its features sorted', async (t) => {
  const plan = await create('plus', { prices: [monthly('RUB', 59_900n), monthly('GEL', 2_900n)] });
  t.is(plan.etag, 'r1');
  t.true((await codes()).includes('plus'));
  t.deepEqual(await codes('GEL'), ['plus']);
  const [row] = await world.query(
    `select features, product_line, refund_policy, archived_at from plan where code = 'plus'`,
  );
  t.deepEqual(row, {
    features: ['catalog.base', 'video.uhd'],
    product_line: 'cinema',
    refund_policy: 'none',
    archived_at: null,
  });
  t.is(await refused(t, create('plus')), 'ALREADY_EXISTS PLAN_EXISTS');
});

test('a preview of a plan leaves nothing behind', async (t) => {
  const preview = await create('preview', { validateOnly: true });
  t.is(preview.plan?.prices.length, 2);
  t.deepEqual(await world.query(`select 1 from plan where code = 'preview'`), []);
  t.deepEqual(await world.query(`select 1 from audit_entry where after->>'code' = 'preview'`), []);
});

test('a price is more than nothing, in a real currency, and longer than the retries', async (t) => {
  const week = { ...monthly('RUB', 9_900n), intervalUnit: IntervalUnit.WEEK };
  const cases = [
    [[week], 'INVALID_ARGUMENT PRICE_INTERVAL_TOO_SHORT'],
    [[{ ...week, intervalCount: 2 }], 'INVALID_ARGUMENT PRICE_INTERVAL_TOO_SHORT'],
    [[monthly('RUB', 0n)], 'INVALID_ARGUMENT PRICE_INVALID'],
    [[monthly('RUB', -1n)], 'INVALID_ARGUMENT PRICE_INVALID'],
    [[monthly('QQQ', 100n)], 'INVALID_ARGUMENT PRICE_INVALID'],
    [[monthly('RUB', 100n), monthly('RUB', 100n)], 'ALREADY_EXISTS PRICE_EXISTS'],
    [[{ ...monthly('RUB', 100n), intervalUnit: IntervalUnit.UNSPECIFIED }], 'INVALID_ARGUMENT INVALID_FIELDS'],
  ] as const;
  for (const [prices, expected] of cases) t.is(await refused(t, create('never', { prices })), expected);
  const three = await create('three-weeks', { prices: [{ ...week, intervalCount: 3 }] });
  const add = { ...head(), planId: three.plan!.id, etag: three.etag, price: week };
  t.is(await refused(t, api.planAdmin.addPrice(add, admin)), 'INVALID_ARGUMENT PRICE_INTERVAL_TOO_SHORT');
});

test('a new price is for new subscribers; whoever has the old one is renewed at it', async (t) => {
  const plan = await create('grandfather', { productLine: 'sport' });
  const oldPrice = plan.plan!.prices.find(({ amount }) => amount?.currencyCode === 'RUB')!;
  const userId = randomUUID();
  const token = await world.auth.token({ sub: userId });
  const { checkout } = await api.subscriptions.subscribe({ requestId: randomUUID(), priceId: oldPrice.id }, { token });
  await world.paymentSystem.pay(checkout!.url);
  await waitUntil('it is active', async () => {
    const [row] = await world.query(`select status from subscription where user_id = $1`, [userId]);
    return row?.['status'] === 'ACTIVE';
  });
  const added = await api.planAdmin.addPrice(
    { ...head(), planId: plan.plan!.id, etag: plan.etag, price: monthly('RUB', 79_900n) },
    admin,
  );
  const use = added.plan!.priceUses.find(({ priceId }) => priceId === oldPrice.id);
  t.is(use?.openSubscriptionCount, 1n);
  await world.advance({ days: 32 });
  const paid = (await world.paymentSystem.payments()).filter((payment) => payment.customer_reference === userId);
  t.deepEqual(
    paid.map(({ amount_minor }) => Number(amount_minor)),
    [59_900, 59_900],
  );
  const gone = api.planAdmin.deletePlan({ ...head(), planId: plan.plan!.id, etag: added.plan!.etag }, admin);
  t.is(await refused(t, gone), 'FAILED_PRECONDITION PLAN_IN_USE');
});

test('an archived plan is gone from sale within a second, and comes back', async (t) => {
  const { plan, etag } = await create('short-lived');
  const [priceId, token] = [plan!.prices[0]!.id, await world.auth.token({ sub: randomUUID() })];
  const archived = await api.planAdmin.archivePlan({ ...head('out of season'), planId: plan!.id, etag }, admin);
  t.false((await codes()).includes('short-lived'));
  const subscribe = api.subscriptions.subscribe({ requestId: randomUUID(), priceId }, { token });
  t.is(await refused(t, subscribe), 'NOT_FOUND PLAN_NOT_FOUND');
  const listed = async (includeArchived: boolean) =>
    (await api.planAdmin.listPlans({ includeArchived, pageSize: 500 }, admin)).plans.some(
      (found) => found.plan?.code === 'short-lived',
    );
  t.deepEqual([await listed(false), await listed(true)], [false, true]);
  await api.planAdmin.unarchivePlan({ ...head(), planId: plan!.id, etag: archived.plan!.etag }, admin);
  t.true((await codes()).includes('short-lived'));
});

test('a plan that was never sold is deleted with its prices', async (t) => {
  const { plan, etag } = await create('mistake');
  await api.planAdmin.deletePlan({ ...head(), planId: plan!.id, etag }, admin);
  t.deepEqual(await world.query(`select id from price where plan_id = $1`, [plan!.id]), []);
  t.is(await refused(t, api.planAdmin.getPlan({ planId: plan!.id }, admin)), 'NOT_FOUND PLAN_NOT_FOUND');
});

test('an update changes what the mask names and nothing else', async (t) => {
  const { plan, etag } = await create('masked', { description: 'first' });
  const update = { planId: plan!.id, etag, name: 'Новое', description: 'second' };
  const masked = (paths: string[]) => api.planAdmin.updatePlan({ ...head(), ...update, updateMask: { paths } }, admin);
  t.is(await refused(t, masked([])), 'INVALID_ARGUMENT UPDATE_MASK_INVALID');
  t.is(await refused(t, masked(['code'])), 'INVALID_ARGUMENT UPDATE_MASK_INVALID');
  t.is(await refused(t, masked(['constructor'])), 'INVALID_ARGUMENT UPDATE_MASK_INVALID');
  await masked(['name']);
  const [row] = await world.query(`select name, description from plan where id = $1`, [plan!.id]);
  t.deepEqual(row, { name: 'Новое', description: 'first' });
});

test('of ten changes based on the same state one is made', async (t) => {
  const { plan, etag } = await create('raced');
  const results = await Promise.allSettled(
    Array.from({ length: 10 }, (_, n) =>
      api.planAdmin.updatePlan(
        { ...head(), planId: plan!.id, etag, name: `Name ${n}`, updateMask: { paths: ['name'] } },
        admin,
      ),
    ),
  );
  const reasons = results.map((result) => (result.status === 'rejected' ? (result.reason as RpcError).reason : 'made'));
  t.deepEqual(reasons.sort(), [...Array<string>(9).fill('ETAG_MISMATCH'), 'made']);
  const [row] = await world.query(`select revision from plan where id = $1`, [plan!.id]);
  t.is(row!['revision'], 2);
});

test('the same request id makes one plan, however often it is sent', async (t) => {
  const request = { ...head(), code: 'once', name: 'Once', prices: [monthly('RUB', 100n)] };
  const answers = await Promise.all(Array.from({ length: 10 }, () => api.planAdmin.createPlan(request, admin)));
  t.is(new Set(answers.map(({ plan }) => plan!.plan!.id)).size, 1);
  t.is((await world.query(`select 1 from audit_entry where after->>'code' = 'once'`)).length, 1);
  const other = api.planAdmin.createPlan({ ...request, name: 'Twice' }, admin);
  t.is(await refused(t, other), 'INVALID_ARGUMENT REQUEST_ID_REUSED');
});

test('every change of a plan is in the audit log, with who, why, before and after; and stays there', async (t) => {
  const { plan, etag } = await create('audited');
  await api.planAdmin.archivePlan({ ...head('the rights ran out'), planId: plan!.id, etag }, admin);
  const { entries } = await api.operations.listAuditEntries({ targetId: plan!.id }, admin);
  t.deepEqual(
    entries.map(({ action, actorId, actorRole, reason, targetKind }) => [
      action,
      actorId,
      actorRole,
      reason,
      targetKind,
    ]),
    [
      ['ArchivePlan', 'olga', 'admin', 'the rights ran out', 'plan'],
      ['CreatePlan', 'olga', 'admin', 'a test', 'plan'],
    ],
  );
  t.is((JSON.parse(entries[0]!.beforeJson) as { archivedAt: unknown }).archivedAt, null);
  t.regex(String((JSON.parse(entries[0]!.afterJson) as { archivedAt: unknown }).archivedAt), /^2027-/);
  t.is(entries[1]!.beforeJson, '');
  for (const statement of ['delete from audit_entry', `update audit_entry set reason = ''`, 'truncate audit_entry']) {
    await t.throwsAsync(world.query(statement), { message: /never change/ }, statement);
  }
});

test('plans come in pages that a new plan does not shift, and a token fits its own list and caller only', async (t) => {
  for (const n of [1, 2, 3]) await create(`paged-${n}`, { prices: [monthly('JPY', 500n)] });
  const page = (pageToken: string, options = admin, currencyCode = 'JPY') =>
    api.planAdmin.listPlans({ pageSize: 2, pageToken, currencyCode }, options);
  const first = await page('');
  await create('paged-4', { prices: [monthly('JPY', 500n)] });
  const second = await page(first.nextPageToken);
  const listed = [...first.plans, ...second.plans].map(({ plan }) => plan!.code);
  t.deepEqual(listed, ['paged-3', 'paged-2', 'paged-1']);
  const other = { token: await world.auth.token({ sub: 'boris', role: 'admin' }) };
  const invalid = 'INVALID_ARGUMENT PAGE_TOKEN_INVALID';
  t.is(await refused(t, page(first.nextPageToken, other)), invalid);
  t.is(await refused(t, page(first.nextPageToken, admin, '')), invalid);
  const forged = Buffer.from(first.nextPageToken, 'base64url').toString().replace('2027', '2028');
  t.is(await refused(t, page(Buffer.from(forged).toString('base64url'))), invalid);
});
