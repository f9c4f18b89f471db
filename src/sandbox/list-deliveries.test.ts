import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { timestampDate, type Timestamp } from '@bufbuild/protobuf/wkt';
import test from 'ava';
import {
  DeliveryState,
  NoticeFault,
  type Delivery,
} from '@cinema-billing/gen/billing/sandbox/v1/sandbox_service_pb.ts';
import type { LedgerLine } from '../local/payment-system/ledger-line.ts';
import { refused } from '../testing/refused.ts';
import { waitUntil } from '../testing/wait-until.ts';
import { startWorld, type World } from '../testing/world.ts';

let world: World;
let sandbox: ReturnType<World['clients']>['sandbox'];
test.before(async () => {
  world = await startWorld();
  ({ sandbox } = world.clients());
});
test.after.always(async () => {
  sandbox?.close();
  await world?.stop();
});

/** Every notice of a viewer, or of all, as the payment system's ledger file has it: newest first, with its tries. */
function ledgerOf(userId?: string) {
  const text = readFileSync(join(world.paymentSystem.dataDir, 'ledger.jsonl'), 'utf8');
  // A last line without its end is being written.
  const lines = text
    .slice(0, text.lastIndexOf('\n'))
    .split('\n')
    .map((line) => JSON.parse(line) as LedgerLine);
  const isWanted = ({ event, payment }: LedgerLine) =>
    event !== undefined && (userId === undefined || payment!.customer_reference === userId);
  const made = lines.filter(isWanted).map(({ event, payment, at }) => {
    const tries = lines.filter(({ delivery }) => delivery?.event === event!.id);
    return { id: event!.id, type: event!.type, payment: payment!.id, userId: payment!.customer_reference, at, tries };
  });
  return made.toReversed();
}

const iso = (at: Timestamp | undefined) => at && timestampDate(at).toISOString();
const seconds = (from: string, s: number) => new Date(Date.parse(from) + s * 1_000).toISOString();

function shown({ state, tries, lastHttpStatus, lastTriedAt, nextTryAt }: Delivery) {
  return {
    state: Object.entries(DeliveryState).find(([, value]) => value === state)![0],
    tries,
    lastHttpStatus,
    lastTriedAt: iso(lastTriedAt),
    nextTryAt: iso(nextTryAt),
  };
}

async function listOf(userId: string): Promise<Delivery[]> {
  return (await sandbox.listDeliveries({ userId })).deliveries;
}

/** The viewer's bank takes the money back: a notice that is made at once. Gives its instant when what is due was tried. */
async function dispute(userId: string): Promise<string> {
  const payments = await world.paymentSystem.payments();
  await world.paymentSystem.dispute(payments.find((payment) => payment.customer_reference === userId)!.id);
  await waitUntil('what is due is tried', async () => (await world.paymentSystem.clock()).undelivered_webhooks === 0);
  return ledgerOf(userId)[0]!.at;
}

/** A viewer who has paid, and whose notices are then scripted. */
async function scripted(notices: NoticeFault): Promise<string> {
  const { userId } = await world.subscriber();
  await sandbox.scriptOutcome({ userId, notices });
  return userId;
}

/** How many notices of this id the service has. */
async function arrived(id: string): Promise<number> {
  return (await world.query(`select from webhook_event where provider_event_id = $1`, [id])).length;
}

test.serial('a notice that the service took is delivered, as the ledger has it, and shown to its viewer', async (t) => {
  const { userId } = await world.subscriber();
  const other = await world.subscriber();
  await waitUntil('both are told', async () => (await world.paymentSystem.clock()).undelivered_webhooks === 0);
  const [notice, ...more] = ledgerOf(userId);
  t.deepEqual(more, []);
  t.is(notice!.tries.length, 1);
  t.is(await arrived(notice!.id), 1);

  const [delivery, ...others] = await listOf(userId.toUpperCase());
  t.deepEqual(others, []);
  t.like(delivery, {
    providerEventId: notice!.id,
    type: 'payment.succeeded',
    providerPaymentId: notice!.payment,
    userId,
  });
  t.is(iso(delivery!.createdAt), notice!.at);
  const delivered = { state: 'DELIVERED', tries: 1, lastHttpStatus: 200, nextTryAt: undefined };
  t.deepEqual(shown(delivery!), { ...delivered, lastTriedAt: notice!.tries[0]!.at });
  t.deepEqual(
    (await listOf(other.userId)).map(({ providerEventId }) => providerEventId),
    ledgerOf(other.userId).map(({ id }) => id),
  );
  t.deepEqual(await listOf(randomUUID()), []);
});

test.serial('a lost notice of a renewal is never sent; the one before it stays delivered', async (t) => {
  const userId = await scripted(NoticeFault.LOST);
  await world.advance({ days: 32 });
  const [lost, first] = await listOf(userId);
  t.deepEqual(
    [lost, first].map((one) => one!.providerEventId),
    ledgerOf(userId).map(({ id }) => id),
  );
  const never = { state: 'LOST', tries: 0, lastHttpStatus: 0, lastTriedAt: undefined, nextTryAt: undefined };
  t.deepEqual(shown(lost!), never);
  t.is(await arrived(lost!.providerEventId), 0);
  t.like(shown(first!), { state: 'DELIVERED', tries: 1 });
});

test.serial('a duplicated notice is delivered with two tries, and the service has it once', async (t) => {
  const userId = await scripted(NoticeFault.DUPLICATED);
  const at = await dispute(userId);
  const [delivery] = await listOf(userId);
  t.is(delivery!.type, 'dispute.opened');
  t.is(ledgerOf(userId)[0]!.tries.length, 2);
  const delivered = { state: 'DELIVERED', tries: 2, lastHttpStatus: 200, nextTryAt: undefined };
  t.deepEqual(shown(delivery!), { ...delivered, lastTriedAt: at });
  t.is(await arrived(delivery!.providerEventId), 1);
});

test.serial('a late notice is held back for ten minutes of the business clock, and then delivered', async (t) => {
  const userId = await scripted(NoticeFault.LATE);
  const at = await dispute(userId);
  const due = seconds(at, 600);
  const [held] = await listOf(userId);
  const notYet = { state: 'HELD_BACK', tries: 0, lastHttpStatus: 0, lastTriedAt: undefined };
  t.deepEqual(shown(held!), { ...notYet, nextTryAt: due });
  t.is(await arrived(held!.providerEventId), 0);
  await world.advance({ hours: 1 });
  const [delivery] = await listOf(userId);
  t.is(delivery!.providerEventId, held!.providerEventId);
  const delivered = { state: 'DELIVERED', tries: 1, lastHttpStatus: 200, nextTryAt: undefined };
  t.deepEqual(shown(delivery!), { ...delivered, lastTriedAt: due });
});

test.serial(
  'a notice that the service did not take waits for its next try, and is given up after 3 days',
  async (t) => {
    const { userId } = await world.subscriber();
    const lost = await world.subscriber();
    await waitUntil('both are told', async () => (await world.paymentSystem.clock()).undelivered_webhooks === 0);
    world.webhooks.open = false;
    try {
      const at = await dispute(userId);
      const refusedOnce = { state: 'WAITING', tries: 1, lastHttpStatus: 503, lastTriedAt: at };
      t.deepEqual(shown((await listOf(userId))[0]!), { ...refusedOnce, nextTryAt: seconds(at, 1) });
      await world.advance({ hours: 1 });
      // After 0, 1, 6, 36, 156 and 756 s; the next one an hour later.
      const refusedMore = { state: 'WAITING', tries: 6, lastHttpStatus: 503, lastTriedAt: seconds(at, 756) };
      t.deepEqual(shown((await listOf(userId))[0]!), { ...refusedMore, nextTryAt: seconds(at, 4_356) });
      world.webhooks.open = true;
      await world.advance({ hours: 1 });
      const delivered = { state: 'DELIVERED', tries: 7, lastHttpStatus: 200, lastTriedAt: seconds(at, 4_356) };
      t.deepEqual(shown((await listOf(userId))[0]!), { ...delivered, nextTryAt: undefined });

      world.webhooks.open = false;
      await dispute(lost.userId);
      await world.advance({ days: 4 });
    } finally {
      world.webhooks.open = true;
    }
    const [gone] = await listOf(lost.userId);
    // The six of the first hour, and 4 356 and 15 156 s; then every 6 h until 72 h: 11 more.
    t.like(shown(gone!), { state: 'GIVEN_UP', tries: 19, lastHttpStatus: 503, nextTryAt: undefined });
    t.is(await arrived(gone!.providerEventId), 0);
  },
);

test.serial('a walk over the pages has each notice once, newest first, also while new ones come', async (t) => {
  for (let viewer = 0; viewer < 3; viewer++) await world.subscriber();
  const there = ledgerOf().map(({ id }) => id);
  const walked: string[] = [];
  let pageToken = '';
  do {
    const page = await sandbox.listDeliveries({ pageSize: 3, pageToken });
    t.true(page.deliveries.length <= 3);
    walked.push(...page.deliveries.map(({ providerEventId }) => providerEventId));
    if (walked.length === 3) await world.subscriber();
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  t.true(there.length > 6);
  t.deepEqual(walked, there);
});

test.serial('a page token fits its own list and viewer only', async (t) => {
  const { nextPageToken: pageToken } = await sandbox.listDeliveries({ pageSize: 1 });
  t.not(pageToken, '');
  const wrong = [
    sandbox.listDeliveries({ pageToken: 'AAAA' }),
    sandbox.listDeliveries({ pageToken, userId: randomUUID() }),
  ];
  for (const call of wrong) t.is(await refused(t, call), 'INVALID_ARGUMENT PAGE_TOKEN_INVALID');
  for (const request of [{ userId: 'me' }, { pageSize: 501 }, { pageSize: -1 }]) {
    t.is(await refused(t, sandbox.listDeliveries(request)), 'INVALID_ARGUMENT INVALID_FIELDS');
  }
});

test.serial('while the payment system is away, the list is unavailable', async (t) => {
  await world.paymentSystem.kill();
  t.is(await refused(t, sandbox.listDeliveries({})), 'UNAVAILABLE PROVIDER_UNAVAILABLE');
});

for (const provider of ['stripe', 'yookassa'] as const) {
  test.serial(`beside a double of ${provider}, which keeps no list, it is refused`, async (t) => {
    const beside = await startWorld({ provider });
    const clients = beside.clients();
    try {
      t.is(await refused(t, clients.sandbox.listDeliveries({})), 'FAILED_PRECONDITION DELIVERIES_NOT_LISTED');
    } finally {
      clients.sandbox.close();
      await beside.stop();
    }
  });
}
