import { randomUUID } from 'node:crypto';
import test from 'ava';
import { Pool } from 'pg';
import { inTransaction, openDatabase, type MikroORM } from '../db/orm.ts';
import { createSandboxProvider } from '../payments/providers/sandbox/sandbox-provider.ts';
import { createTestDatabase, type TestDatabase } from '../testing/database.ts';
import { plantCharge, type PlantedCharge } from '../testing/ledger.ts';
import { merchantOf, type Merchant } from '../testing/payment-system-merchant.ts';
import { startPaymentSystem, type PaymentObject, type TestPaymentSystem } from '../testing/payment-system.ts';
import { startWebhookReceiver, type WebhookReceiver } from '../testing/webhook-receiver.ts';
import type { Row } from '../testing/world.ts';
import { appendFacts } from './append-facts.ts';
import type { JournalFact, MoneyMoved } from './journal-fact.ts';
import type { ProviderBooks } from './provider-books.ts';
import { reconcile } from './reconcile.ts';

let database: TestDatabase;
let pool: Pool;
let orm: MikroORM;
let receiver: WebhookReceiver;
let system: TestPaymentSystem;
let merchant: Merchant;
let provider: ProviderBooks;
const query = async (text: string, values: unknown[] = []) => (await pool.query(text, values)).rows as Row[];

test.beforeEach(async () => {
  database = await createTestDatabase();
  pool = new Pool({ connectionString: database.url, max: 4 });
  orm = await openDatabase({ url: database.url, entities: [] });
  receiver = await startWebhookReceiver();
  system = await startPaymentSystem({ webhookUrl: receiver.url });
  merchant = merchantOf(() => system);
  provider = createSandboxProvider({ baseUrl: system.url, apiKey: system.apiKey, webhookSecrets: ['a'] });
  await system.setClock(day, false);
});
test.afterEach.always(async () => {
  await pool?.end();
  await orm?.close(true);
  await database?.drop();
  await system?.stop();
  await receiver?.close();
});

const day = '2027-02-01T12:00:00Z';
const window = {
  from: Temporal.Instant.from('2027-02-01T00:00:00Z'),
  to: Temporal.Instant.from('2027-02-02T00:00:00Z'),
};
const append = (...facts: JournalFact[]) =>
  inTransaction(orm.em, (tx) => appendFacts(tx, facts, Temporal.Instant.from(day)));
const charged = (moved: MoneyMoved): JournalFact => ({ ...moved, kind: 'CHARGED', period: undefined });

/** Money that the payment system took, for a reference. */
async function take(reference: string, amountMinor = 29_900): Promise<PaymentObject> {
  const payment = await merchant.openCheckout({ reference, amount_minor: String(amountMinor) });
  await system.pay(payment.page_url!);
  return payment;
}

async function giveBack(payment: string, amountMinor: number): Promise<string> {
  const body = { payment, amount_minor: String(amountMinor), reference: randomUUID() };
  return (await merchant.call('/v1/refunds', { key: randomUUID(), body })).body['id'] as string;
}

/** An attempt whose money the payment system has; in the journal when it succeeded. */
async function attempt(more: PlantedCharge & { taken?: number; journal?: boolean } = {}): Promise<MoneyMoved> {
  const attemptId = randomUUID();
  const { id } = await take(attemptId, more.taken);
  const moved = await plantCharge(query, { attemptId, providerPaymentId: id, at: day, ...more });
  if (more.journal ?? (more.state ?? 'SUCCEEDED') === 'SUCCEEDED') await append(charged(moved));
  return moved;
}

async function plantRefund(moved: MoneyMoved, state: string, providerRefundId: string | null): Promise<string> {
  const id = randomUUID();
  await query(
    `insert into refund (id, attempt_id, reason, provider, merchant_account, provider_payment_id, amount_minor,
       currency_code, idempotency_key, state, provider_refund_id, lease_until, created_at, settled_at, next_try_at)
     values ($1::uuid, $2, 'SURPLUS', 'sandbox', 'sandbox-cinema', $3, $4, 'RUB', $1::text, $5, $6, now(), $7, $8, $9)`,
    [
      id,
      moved.attemptId,
      moved.providerPaymentId,
      moved.amount.amountMinor,
      state,
      providerRefundId,
      day,
      state === 'PENDING' ? null : day,
      state === 'PENDING' ? day : null,
    ],
  );
  return id;
}

/** Surplus: charged, given back by us, both in the journal. */
async function surplus(): Promise<MoneyMoved> {
  const moved = await attempt();
  const providerRefundId = await giveBack(moved.providerPaymentId, 29_900);
  const refundId = await plantRefund(moved, 'SUCCEEDED', providerRefundId);
  await append({ ...moved, kind: 'REFUNDED', refundId, providerRefundId });
  return moved;
}

test.serial('both sides agree, surplus that went back included, and the run says what it examined', async (t) => {
  for (let n = 0; n < 3; n++) await attempt();
  await surplus();
  await merchant.openCheckout();
  const seen: number[] = [];
  const report = await reconcile(orm, { provider, ...window }, (listed) => seen.push(listed));
  t.deepEqual(report.list, []);
  t.true(report.holds);
  t.deepEqual(report.examined, { payments: 5, succeeded: 4, charges: 4, underWay: 0 });
  t.deepEqual(seen, [5]);
});

test.serial('a window without money has proven nothing', async (t) => {
  await attempt();
  await merchant.openCheckout();
  const { from, to } = window;
  const report = await reconcile(orm, { provider, from: from.add({ hours: 24 }), to: to.add({ hours: 24 }) });
  t.false(report.holds);
  t.deepEqual(report.examined, { payments: 0, succeeded: 0, charges: 0, underWay: 0 });
});

test.serial('a planted difference of every class is reported with its class, and nothing else is', async (t) => {
  await attempt();
  await surplus();
  const unknown = await plantCharge(query, { at: day });
  await append(charged(unknown));
  const unpaid = await merchant.openCheckout();
  const declined = await plantCharge(query, { at: day, providerPaymentId: unpaid.id, attemptId: unpaid.reference });
  await append(charged(declined));
  const orphan = await take('somebody else');
  const orphanWithUuid = await take(randomUUID());
  const unwritten = await attempt({ journal: false });
  const twice = await attempt();
  const second = await take(twice.attemptId);
  const twiceWritten = await attempt();
  await append(charged(twiceWritten));
  const otherAmount = await attempt({ taken: 29_901 });
  const parked = await attempt({ taken: 100, state: 'WAITING' });
  const [givenUp, stillOpen] = [await attempt({ state: 'DEAD' }), await attempt({ state: 'WAITING' })];
  const outside = await attempt();
  await giveBack(outside.providerPaymentId, 1);
  const refundUnknown = await attempt();
  const refundId = await plantRefund(refundUnknown, 'SUCCEEDED', 're_unknown');
  await append({ ...refundUnknown, kind: 'REFUNDED', refundId, providerRefundId: 're_unknown' });
  const refundGivenUp = await attempt();
  await plantRefund(refundGivenUp, 'FAILED', null);
  await giveBack(refundGivenUp.providerPaymentId, 29_900);

  const report = await reconcile(orm, { provider, ...window });
  const expected: [string, string][] = [
    ['missing', unknown.providerPaymentId],
    ['missing', declined.providerPaymentId],
    ['extra', orphan.id],
    ['extra', orphanWithUuid.id],
    ['extra', unwritten.providerPaymentId],
    ['duplicate', second.id],
    ['duplicate', twiceWritten.providerPaymentId],
    ['amount', otherAmount.providerPaymentId],
    ['amount', parked.providerPaymentId],
    ['late success', givenUp.providerPaymentId],
    ['late success', stillOpen.providerPaymentId],
    ['refund outside', outside.providerPaymentId],
    ['missing', refundUnknown.providerPaymentId],
    ['late success', refundGivenUp.providerPaymentId],
  ];
  t.deepEqual(
    report.list.map((found) => [found.class, /pay_[0-9a-f-]+/.exec(found.what)?.[0]]).sort(),
    expected.sort(),
    JSON.stringify(report.list, undefined, 2),
  );
  t.deepEqual(Object.fromEntries(report.counts), {
    missing: 3,
    extra: 3,
    duplicate: 2,
    amount: 2,
    'late success': 3,
    'refund outside': 1,
  });
  t.false(report.holds);
});

test.serial('what is under way is no difference, and is counted', async (t) => {
  const calling = await attempt({ state: 'WAITING' });
  await query(`update payment_attempt set lease_until = now() + interval '1 hour' where id = $1`, [calling.attemptId]);
  const refunding = await attempt();
  await plantRefund(refunding, 'PENDING', null);
  await giveBack(refunding.providerPaymentId, 29_900);
  const report = await reconcile(orm, { provider, ...window });
  t.deepEqual(report.list, []);
  t.is(report.examined.underWay, 2);
});

test.serial('what is settled between the first look and the second is no difference', async (t) => {
  const settling = await attempt({ state: 'WAITING' });
  let listed = 0;
  const settlesMeanwhile: ProviderBooks = {
    ...provider,
    listPayments: async (span) => {
      listed += 1;
      if (listed === 2) {
        await query(
          `update payment_attempt set state = 'SUCCEEDED', next_check_at = null, settled_at = $2 where id = $1`,
          [settling.attemptId, day],
        );
        await append(charged(settling));
      }
      return provider.listPayments(span);
    },
  };
  const report = await reconcile(orm, { provider: settlesMeanwhile, ...window });
  t.deepEqual(report.list, []);
  t.true(report.holds);
  t.is(listed, 2);
});

test.serial('the edges of a window: the provider’s payment may come later than the attempt', async (t) => {
  const before = '2027-01-31T23:59:59Z';
  await attempt({ at: before });
  const report = await reconcile(orm, { provider, from: window.from.subtract({ hours: 24 }), to: window.from });
  t.deepEqual(report.list, []);
  t.deepEqual(report.examined, { payments: 0, succeeded: 0, charges: 1, underWay: 0 });
  // Much later than any list that is read for the window: the charge is looked up by itself.
  const { from } = window;
  const longAgo = await reconcile(orm, {
    provider,
    from: from.subtract({ hours: 99 }),
    to: from.subtract({ hours: 98 }),
  });
  t.deepEqual(longAgo.list, []);
  await attempt({ at: from.subtract({ hours: 98, minutes: 30 }).toString() });
  const looked = await reconcile(orm, {
    provider,
    from: from.subtract({ hours: 99 }),
    to: from.subtract({ hours: 98 }),
  });
  t.deepEqual([looked.list, looked.examined.charges], [[], 1]);
});

test.serial('other accounts and other payment systems are not compared', async (t) => {
  await append(charged(await plantCharge(query, { at: day, provider: 'another' })));
  await append(charged(await plantCharge(query, { at: day, merchantAccount: 'another' })));
  await attempt();
  const report = await reconcile(orm, { provider, ...window });
  t.deepEqual(report.list, []);
  t.is(report.examined.charges, 1);
});

test.serial('more payments than a page holds are compared, and the connection is as it was afterwards', async (t) => {
  for (let n = 0; n < 205; n++) await merchant.openCheckout();
  await attempt();
  const extra = await take('somebody');
  for (let run = 0; run < 2; run++) {
    const report = await reconcile(orm, { provider, ...window });
    t.deepEqual(
      report.list.map((found) => found.class),
      ['extra'],
    );
    t.true(report.list[0]!.what.includes(extra.id));
    t.is(report.examined.payments, 207);
  }
  const settings = await orm.em.getConnection().execute<{ statement_timeout: string }[]>('show statement_timeout');
  t.deepEqual(settings, [{ statement_timeout: '5s' }]);
});

test.serial('a payment system that does not answer ends the run', async (t) => {
  await attempt();
  await system.kill();
  await t.throwsAsync(reconcile(orm, { provider, ...window }));
});
