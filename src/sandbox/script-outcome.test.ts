import test from 'ava';
import { ChargeOutcome, NoticeFault } from '@cinema-billing/gen/billing/sandbox/v1/sandbox_service_pb.ts';
import { startWorld, type World } from '../testing/world.ts';

let world: World;
test.before(async () => {
  world = await startWorld();
});
test.after.always(() => world?.stop());

async function renewalsOf(userId: string) {
  const payments = await world.paymentSystem.payments();
  return payments
    .filter((payment) => payment.customer_reference === userId && payment.kind === 'off_session')
    .map(({ status, decline_kind }) => [status, decline_kind]);
}

test.serial('a scripted soft decline is followed by the scripted payment, for that viewer only', async (t) => {
  const { userId } = await world.subscriber();
  const other = await world.subscriber();
  const { sandbox } = world.clients();
  await sandbox.scriptOutcome({
    userId,
    charges: [{ outcome: ChargeOutcome.SOFT_DECLINE }, { outcome: ChargeOutcome.PAID }],
  });
  await world.advance({ days: 40 });
  t.deepEqual(await renewalsOf(userId), [
    ['declined', 'soft'],
    ['succeeded', null],
  ]);
  t.deepEqual(await renewalsOf(other.userId), [['succeeded', null]]);
  sandbox.close();
});

test.serial('a charge that is answered late, and whose notice is lost, is settled by its answer, once', async (t) => {
  const { userId, subscriptionId } = await world.subscriber();
  const { sandbox } = world.clients();
  await sandbox.scriptOutcome({
    userId,
    charges: [{ outcome: ChargeOutcome.PAID, delayMs: 200 }],
    notices: NoticeFault.LOST,
  });
  await world.advance({ days: 32 });
  t.deepEqual(await renewalsOf(userId), [['succeeded', null]]);
  const [row] = await world.query(`select status, cycle from subscription where id = $1`, [subscriptionId]);
  t.deepEqual(row, { status: 'ACTIVE', cycle: 1 });
  sandbox.close();
});

test.serial('a later script replaces what was not played yet', async (t) => {
  const { userId } = await world.subscriber();
  const { sandbox } = world.clients();
  await sandbox.scriptOutcome({ userId: userId.toUpperCase(), charges: [{ outcome: ChargeOutcome.HARD_DECLINE }] });
  await sandbox.scriptOutcome({ userId });
  await world.advance({ days: 32 });
  t.deepEqual(await renewalsOf(userId), [['succeeded', null]]);
  sandbox.close();
});

test.serial('beside a double, which plays no scripts, it is refused', async (t) => {
  const beside = await startWorld({ provider: 'stripe' });
  try {
    const { sandbox } = beside.clients();
    const userId = '0198c0de-0000-7000-8000-00000000000a';
    const refusal = await t.throwsAsync(sandbox.scriptOutcome({ userId }));
    t.like(refusal, { code: 'FAILED_PRECONDITION', reason: 'OUTCOMES_NOT_SCRIPTABLE' });
    sandbox.close();
  } finally {
    await beside.stop();
  }
});
