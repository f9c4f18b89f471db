import { randomUUID } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import { PlanChangeOutcome } from '@cinema-billing/gen/billing/v1/subscription_service_pb.ts';
import { verifyLedger } from './ledger/verify-ledger.ts';
import type { DoubleCard } from './local/double/cards.ts';
import {
  addPrice,
  attemptsOf,
  sendNotice,
  startBoth,
  takeOut,
  type EitherSystem,
  type WorldOfBoth,
} from './testing/both-payment-systems.ts';
import { openDomain } from './testing/domain.ts';
import { waitUntil } from './testing/wait-until.ts';

/** A period of 30 days, until 15 May: what is left of it can be counted by hand. */
const begun = Temporal.Instant.from('2027-04-15T09:00:00Z');

/** The prices of one payment system's currency, by plan; all of them monthly. */
interface Side {
  readonly system: EitherSystem;
  readonly basic: string;
  readonly premium: string;
}

/** Both payment systems, each with 10 of the 30 days left for whoever subscribed at the beginning. */
async function startSides(t: ExecutionContext): Promise<WorldOfBoth & { sides: readonly [Side, Side] }> {
  const both = await startBoth(t, begun);
  const { world, stripe, yookassa, euros } = both;
  const premium = await addPrice(world, world.prices.premium, 'EUR', 1_499);
  return {
    ...both,
    sides: [
      { system: stripe, basic: euros, premium },
      { system: yookassa, basic: world.prices.basic, premium: world.prices.premium },
    ],
  };
}

async function pass({ world }: WorldOfBoth, span: string): Promise<void> {
  await world.query(`update sandbox_clock set set_to = set_to + $1::interval`, [span]);
}

/** A viewer on this side, and what can be seen of them from outside. */
async function viewerOf(t: ExecutionContext, both: WorldOfBoth, { system }: Side, priceId: string, card?: DoubleCard) {
  const { world } = both;
  const viewer = await takeOut(world, priceId, system, card);
  const { subscriptionId, token, userId } = viewer;
  const { subscriptions } = world.clients();
  t.teardown(() => subscriptions.close());
  return {
    subscriptionId,
    change: (to: string) =>
      subscriptions.changePlan({ requestId: randomUUID(), subscriptionId, priceId: to }, { token }),
    plan: async () => {
      const [row] = await world.query(
        `select plan.code from subscription s join plan on plan.id = s.plan_id where s.id = $1`,
        [subscriptionId],
      );
      return row!['code'];
    },
    /** Of the payment system's own books: what the payments for this purpose have taken and given back. */
    taken: async (like: string) => {
      const attempts = await attemptsOf(world, viewer, like);
      const books = await Promise.all(attempts.map(({ id }) => system.subject.bookOf(String(id))));
      return books.map(({ takenMinor, returnedMinor }) => [takenMinor, returnedMinor]);
    },
    /** The payment system holds the answer to the next charge back, not the money. */
    slowly: async (delayMs: number) => {
      const { origin } = new URL(system.double.url);
      const key = 'secretKey' in system.double ? system.double.secretKey : system.double.apiKey;
      const response = await fetch(`${origin}/double/scripts/${userId}`, {
        method: 'PUT',
        headers: { authorization: `Bearer ${key}` },
        body: JSON.stringify({ charges: [{ outcome: 'ok', delay_ms: delayMs }] }),
      });
      t.is(response.status, 200);
    },
    /** What the payment system has to tell of the change's payment. */
    tell: async () => {
      const [attempt] = await attemptsOf(world, viewer, 'change:%');
      const [reference, providerPaymentId] = [String(attempt!['id']), String(attempt!['payment'])];
      const notice = system.subject.noticeOf({ providerPaymentId, reference });
      t.is((await sendNotice(world, system.name, notice)).status, 200);
    },
    renewed: () =>
      waitUntil('the period is renewed', async () => {
        const rows = await attemptsOf(world, viewer, 'cycle:%');
        return rows.length === 1 && rows[0]!['state'] === 'SUCCEEDED';
      }),
  };
}

/** What a customer does on a page of the payment system, as a browser does it. */
async function confirm(actionUrl: string): Promise<number> {
  const response = await fetch(actionUrl, { method: 'POST', body: new URLSearchParams({ action: 'pay' }) });
  return response.status;
}

async function booksHold(t: ExecutionContext, { world }: WorldOfBoth): Promise<void> {
  const domain = await openDomain(world);
  t.deepEqual((await verifyLedger(domain.ctx)).list, []);
  await domain.stop();
}

const callsOf = ({ double }: EitherSystem) => double.calls.filter(({ call }) => call.startsWith('POST ')).length;
const nothing = [0n, 0n];

test.serial('an upgrade is charged first, for the days that are left, and only then changes the plan', async (t) => {
  const both = await startSides(t);
  const viewers = [
    await viewerOf(t, both, both.sides[0], both.sides[0].basic),
    await viewerOf(t, both, both.sides[1], both.sides[1].basic),
  ];
  await pass(both, '20 days');
  // A third of 4.99 is 1.66, of 14.99 5.00; a third of 299.00 is 99.67, of 999.00 333.00.
  for (const [index, due] of [334n, 23_333n].entries()) {
    const [viewer, side] = [viewers[index]!, both.sides[index]!];
    await viewer.slowly(3_000);
    const changing = viewer.change(side.premium);
    await waitUntil('the money is taken', async () => (await viewer.taken('change:%'))[0]?.[0] === due);
    t.is(await viewer.plan(), 'basic', 'paid, and nobody knows it yet');
    const { outcome, change } = await changing;
    t.is(outcome, PlanChangeOutcome.APPLIED);
    t.is(change!.due!.amountMinor, due);
    t.is(await viewer.plan(), 'premium');
    t.deepEqual(await viewer.taken('change:%'), [[due, 0n]]);
  }
  await pass(both, '11 days');
  for (const [index, monthly] of [1_499n, 99_900n].entries()) {
    await viewers[index]!.renewed();
    t.deepEqual(await viewers[index]!.taken('cycle:%'), [[monthly, 0n]]);
  }
  await booksHold(t, both);
});

test.serial('an upgrade whose charge is declined takes nothing and leaves the old plan', async (t) => {
  const both = await startSides(t);
  for (const side of both.sides) {
    const viewer = await viewerOf(t, both, side, side.basic, 'no funds later');
    const { outcome, declineCode } = await viewer.change(side.premium);
    t.deepEqual([outcome, declineCode], [PlanChangeOutcome.PAYMENT_FAILED, 'insufficient_funds']);
    t.is(await viewer.plan(), 'basic');
    t.deepEqual(await viewer.taken('change:%'), [nothing]);
  }
  await booksHold(t, both);
});

test.serial('less than the payment system charges is waived, without a call; its least amount is taken', async (t) => {
  const both = await startSides(t);
  const { world, sides } = both;
  const cases = [
    // 1.66 is taken off a third of the price: of 5.99, 0.34 are left; of 6.48, the 0.50 that Stripe takes.
    { side: sides[0], currency: 'EUR', waived: 599, next: 599n, least: 648, due: 50n },
    // 99.67 off: of 301.00, 0.66 are left; of 302.01, the rouble that YooKassa takes.
    { side: sides[1], currency: 'RUB', waived: 30_100, next: 30_100n, least: 30_201, due: 100n },
  ];
  const begunWith = [];
  for (const one of cases) {
    begunWith.push({
      ...one,
      waivedPrice: await addPrice(world, world.prices.premium, one.currency, one.waived),
      leastPrice: await addPrice(world, world.prices.premium, one.currency, one.least),
      free: await viewerOf(t, both, one.side, one.side.basic),
      paying: await viewerOf(t, both, one.side, one.side.basic),
    });
  }
  await pass(both, '20 days');
  for (const { side, free, paying, waivedPrice, leastPrice, due } of begunWith) {
    const before = callsOf(side.system);
    const waived = await free.change(waivedPrice);
    t.deepEqual([waived.outcome, waived.change!.due!.amountMinor], [PlanChangeOutcome.APPLIED, 0n]);
    t.is(await free.plan(), 'premium');
    t.is(callsOf(side.system), before);
    t.deepEqual(await free.taken('change:%'), []);
    const least = await paying.change(leastPrice);
    t.deepEqual([least.outcome, least.change!.due!.amountMinor], [PlanChangeOutcome.APPLIED, due]);
    t.deepEqual(await paying.taken('change:%'), [[due, 0n]]);
  }
  await pass(both, '11 days');
  for (const { free, next } of begunWith) {
    await free.renewed();
    t.deepEqual(await free.taken('cycle:%'), [[next, 0n]]);
  }
  await booksHold(t, both);
});

test.serial(
  'an upgrade that the bank asks about waits with a link, and applies when it is confirmed there',
  async (t) => {
    const both = await startSides(t);
    const viewers = [
      await viewerOf(t, both, both.sides[0], both.sides[0].basic, 'needs customer'),
      await viewerOf(t, both, both.sides[1], both.sides[1].basic, 'needs customer'),
    ];
    await pass(both, '20 days');
    for (const [index, due] of [334n, 23_333n].entries()) {
      const [viewer, side] = [viewers[index]!, both.sides[index]!];
      const { outcome, actionUrl, change } = await viewer.change(side.premium);
      t.is(outcome, PlanChangeOutcome.PAYMENT_PENDING);
      t.is(change!.due!.amountMinor, due);
      t.is(new URL(actionUrl).origin, new URL(side.system.double.url).origin, 'a page of the payment system');
      t.is(await viewer.plan(), 'basic');
      t.deepEqual(await viewer.taken('change:%'), [nothing]);
      t.is(await confirm(actionUrl), 200);
      await viewer.tell();
      await waitUntil('the plan changes', async () => (await viewer.plan()) === 'premium');
      t.deepEqual(await viewer.taken('change:%'), [[due, 0n]]);
      t.is(await confirm(actionUrl), 409, 'the page is closed');
    }
    await booksHold(t, both);
  },
);

test.serial('a confirmation of which nobody tells is found by a look-up', async (t) => {
  const both = await startSides(t);
  for (const [index, due] of [1_000n, 70_000n].entries()) {
    const side = both.sides[index]!;
    const viewer = await viewerOf(t, both, side, side.basic, 'needs customer');
    const { actionUrl } = await viewer.change(side.premium);
    t.is(await confirm(actionUrl), 200);
    await pass(both, '1 minute');
    await waitUntil('the plan changes', async () => (await viewer.plan()) === 'premium');
    t.deepEqual(await viewer.taken('change:%'), [[due, 0n]]);
  }
  await booksHold(t, both);
});

test.serial(
  'an upgrade that nobody confirms is given up after an hour: what comes later goes back, once',
  async (t) => {
    const both = await startSides(t);
    const [stripe, yookassa] = both.sides;
    const [closed, late] = [
      await viewerOf(t, both, stripe, stripe.basic, 'needs customer'),
      await viewerOf(t, both, yookassa, yookassa.basic, 'needs customer'),
    ];
    const pages = [await closed.change(stripe.premium), await late.change(yookassa.premium)];
    await pass(both, '61 minutes');
    await waitUntil('both are given up', async () => {
      const rows = await both.world.query(`select 1 from payment where purpose like 'change:%' and status = 'VOID'`);
      return rows.length === 2;
    });
    await waitUntil('Stripe has killed its payment', () =>
      both.stripe.double.objects('payment_intent').some(({ status }) => status === 'canceled'),
    );
    t.is(await confirm(pages[0]!.actionUrl), 409);
    // YooKassa cancels nothing that waits: its page takes the money all the same.
    t.is(await confirm(pages[1]!.actionUrl), 200);
    await late.tell();
    await waitUntil('it went back', async () => (await late.taken('change:%'))[0]![1] === 70_000n);
    t.deepEqual(await late.taken('change:%'), [[70_000n, 70_000n]]);
    t.deepEqual(await closed.taken('change:%'), [nothing]);
    t.deepEqual([await closed.plan(), await late.plan()], ['basic', 'basic']);
    await booksHold(t, both);
  },
);

test.serial('a downgrade costs nothing until the period ends, and is renewed at the new price', async (t) => {
  const both = await startSides(t);
  const viewers = [
    await viewerOf(t, both, both.sides[0], both.sides[0].premium),
    await viewerOf(t, both, both.sides[1], both.sides[1].premium),
  ];
  for (const [index, side] of both.sides.entries()) {
    const before = callsOf(side.system);
    const { outcome } = await viewers[index]!.change(side.basic);
    t.is(outcome, PlanChangeOutcome.SCHEDULED);
    t.is(callsOf(side.system), before);
  }
  await pass(both, '29 days');
  for (const viewer of viewers) t.is(await viewer.plan(), 'premium');
  await pass(both, '2 days');
  for (const [index, monthly] of [499n, 29_900n].entries()) {
    await viewers[index]!.renewed();
    t.is(await viewers[index]!.plan(), 'basic');
    t.deepEqual(await viewers[index]!.taken('cycle:%'), [[monthly, 0n]]);
  }
  await booksHold(t, both);
});
