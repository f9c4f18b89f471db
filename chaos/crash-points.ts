import { randomUUID } from 'node:crypto';
import { failPointNames, type FailPointName } from '../src/lib/fail-point.ts';
import type { LocalProvider } from '../src/local/payment-systems.ts';
import type { ScriptedStep } from '../src/testing/payment-system.ts';
import { isRunning } from '../src/testing/processes-of.ts';
import { waitUntil } from '../src/testing/wait-until.ts';
import { startWorld, type World } from '../src/testing/world.ts';
import { checkInvariants, type Check } from './checks.ts';
import type { Scenario } from './scenario.ts';

/** How the payment system treats the charge, or the refund, that the crash falls into; afterwards it is well again. */
const outcomes = {
  ok: { outcome: 'ok' },
  decline: { outcome: 'soft_decline' },
  'charged-no-answer': { outcome: 'charged_unanswered' },
  'nothing-no-answer': { outcome: 'nothing_unanswered' },
  'stored-500': { outcome: 'stored_500' },
  'webhook-first': { outcome: 'ok', delay_ms: 4_000 },
} satisfies Record<string, ScriptedStep>;

type Outcome = keyof typeof outcomes;

export interface CrashCase {
  readonly point: FailPointName;
  readonly outcome: Outcome;
}

/** Above a call's deadline in the service, which a silent payment system uses up whole. */
const reachMaxMs = 40_000;
/** Past the provider's memory of keys, and the first retry after a decline. */
const quiesceDays = 3;

/** Every point with every outcome that gets there: without a charge there is no notice, and without a decision nothing is published. */
export function crashCases(): CrashCase[] {
  return failPointNames.flatMap((point) =>
    (Object.keys(outcomes) as Outcome[])
      .filter((outcome) => reaches(point, outcome))
      .map((outcome) => ({ point, outcome })),
  );
}

function reaches(point: FailPointName, outcome: Outcome): boolean {
  if (point.startsWith('refund.')) return true;
  const isDecided = outcome !== 'nothing-no-answer' && outcome !== 'stored-500';
  return isDecided || !(point.startsWith('webhook.') || point.startsWith('relay.'));
}

/** The process is killed at each point, started again, and everything comes right. */
export const crashPoints: Scenario = async ({ only, progress, provider }) => {
  const cases = crashCases().filter(({ point, outcome }) => `${point} ${outcome}`.includes(only));
  return crashEach(cases, progress, provider);
};

/** Plays the cases one after the other in one world, and checks all of it. */
export async function crashEach(
  cases: readonly CrashCase[],
  progress: (line: string) => void,
  provider: LocalProvider = 'sandbox',
): Promise<Check[]> {
  const world = await startWorld({ provider });
  try {
    const broken: string[] = [];
    for (const [n, { point, outcome }] of cases.entries()) {
      const problem = await crashOnce(world, { point, outcome });
      progress(`${n + 1}/${cases.length} ${point} ${outcome}: ${problem ?? 'recovered'}`);
      if (problem !== undefined) broken.push(`${point} ${outcome}: ${problem}`);
    }
    return [{ name: 'crashed and recovered', examined: cases.length, broken }, ...(await checkInvariants(world))];
  } finally {
    await world.stop();
  }
}

/** One crash and the recovery; answers what is wrong afterwards. */
async function crashOnce(world: World, { point, outcome }: CrashCase): Promise<string | undefined> {
  const viewer = await world.subscriber();
  await world.advance({ hours: 0 });
  await world.service.stop();
  const isRefund = point.startsWith('refund.');
  await world.provider.script(viewer.userId, { [isRefund ? 'refunds' : 'charges']: [outcomes[outcome]] });
  if (isRefund) await oweRefund(world, viewer.userId);
  else
    await world.query(`update subscription set next_charge_at = business_now() where id = $1`, [viewer.subscriptionId]);

  const doomed = await world.startReplica({ BILLING_FAIL_POINT: point });
  const died = await waitUntil(`the process dies at ${point}`, () => hasDied(world, doomed.pid, isRefund), reachMaxMs)
    .then(() => true)
    .catch(() => false);
  if (!died) await doomed.stop();
  // Its leases are for whoever still lives; that they run out is only a matter of real time.
  await world.query(`update payment_attempt set lease_until = clock_timestamp() where lease_until > clock_timestamp()`);
  await world.query(`update refund set lease_until = clock_timestamp() where lease_until > clock_timestamp()`);
  await world.query(`update webhook_event set lease_until = null`);
  world.service = await world.startReplica();
  await world.advance({ days: quiesceDays });
  if (!died) return 'the point was never reached';
  return isRefund ? refundProblem(world, viewer.userId, outcome) : renewalProblem(world, viewer);
}

/** The first payment is to go back, as after a cancellation. */
async function oweRefund(world: World, userId: string): Promise<void> {
  const id = randomUUID();
  await world.query(
    `insert into refund (id, attempt_id, reason, provider, merchant_account, provider_payment_id, amount_minor,
       currency_code, idempotency_key, state, next_try_at, lease_until, created_at)
     select $1, a.id, 'REQUESTED', a.provider, a.merchant_account, a.provider_payment_id, a.amount_minor,
       a.currency_code, $3, 'PENDING', business_now(), clock_timestamp(), business_now()
     from payment_attempt a join payment p on p.id = a.payment_id where p.user_id = $2`,
    [id, userId, `rfd_${id}`],
  );
}

/** Whether it is dead; a refund that is to be tried again has its time come meanwhile, with nobody to move the clock. */
async function hasDied(world: World, pid: number, isRefund: boolean): Promise<boolean> {
  if (!isRunning(pid)) return true;
  if (!isRefund) return false;
  await world.query(
    `update sandbox_clock set set_to = again.at from (select min(next_try_at) as at from refund
       where state = 'PENDING' and lease_until <= clock_timestamp() and next_try_at > business_now()) again
     where again.at is not null`,
  );
  return false;
}

/** A refund that the payment system cannot make, or that nobody can tell of while its key is safe, is left to a person. */
async function refundProblem(world: World, userId: string, outcome: Outcome): Promise<string | undefined> {
  const payment = (await world.provider.payments()).find((one) => one.customer_reference === userId);
  const [refund] = await world.query(
    `select r.state from refund r join payment_attempt a on a.id = r.attempt_id
     join payment p on p.id = a.payment_id where p.user_id = $1`,
    [userId],
  );
  // An error that every repeat under its key gets ends with the key.
  const isLeft = outcome === 'decline';
  const [back, state] = isLeft ? ['0', 'FAILED'] : [payment!.amount_minor, 'SUCCEEDED'];
  if (payment!.refunded_minor === back && refund!['state'] === state) return undefined;
  return `${payment!.refunded_minor} went back, the refund is ${String(refund!['state'])}`;
}

async function renewalProblem(
  world: World,
  { userId, subscriptionId }: { userId: string; subscriptionId: string },
): Promise<string | undefined> {
  const charges = (await world.provider.payments()).filter(
    (payment) =>
      payment.customer_reference === userId && payment.kind === 'off_session' && payment.status === 'succeeded',
  );
  const [row] = await world.query(`select status, cycle from subscription where id = $1`, [subscriptionId]);
  const found = `${String(row!['status'])} in cycle ${String(row!['cycle'])} after ${charges.length} charges`;
  return found === 'ACTIVE in cycle 1 after 1 charges' ? undefined : found;
}
