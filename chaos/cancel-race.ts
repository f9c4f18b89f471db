import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { sendRefunds } from '../src/payments/send-refunds.ts';
import { renewDue } from '../src/renewals/renew-due.ts';
import { cancelSubscription } from '../src/subscriptions/cancel-subscription.ts';
import { openDomain, type Domain } from '../src/testing/domain.ts';
import { copySubscription, startWorld, type World } from '../src/testing/world.ts';
import { checkInvariants, type Check } from './checks.ts';
import { seeded, type Scenario } from './scenario.ts';

const roundsDefault = 2_000;
const offsetMaxMs = 50;
const reportEvery = 100;
/** Fewer different ends mean that the two never met. */
const endsMin = 4;

/** What a race may end in: status, cycle, the attempt, and what the payment system has and has given back. */
const legalEnds: ReadonlySet<string> = new Set([
  'CANCELED 0 no attempt: 0 charges',
  'CANCELED 0 DEAD: 0 charges',
  'CANCELED 0 SUCCEEDED: charged, 29900 back',
  'CANCELED 1 SUCCEEDED: charged, 0 back',
  'ACTIVE 0 no attempt: 0 charges',
  'ACTIVE 0 DEAD: 0 charges',
  'ACTIVE 1 SUCCEEDED: charged, 0 back',
]);

/** Cancels race the renewal of the same subscription, from 50 ms before to 50 ms after it. */
export const cancelRace: Scenario = ({ seed, progress }) => raceCancels(roundsDefault, seed, progress);

/** That many races, in a world of their own. */
export async function raceCancels(rounds: number, seed: number, progress: (line: string) => void): Promise<Check[]> {
  const world = await startWorld();
  const domain = await openDomain(world);
  const random = seeded(seed);
  try {
    const { subscriptionId } = await world.subscriber();
    await world.service.stop();
    const ends = new Map<string, number>();
    const [broken, late]: [string[], string[]] = [[], []];
    let unsent = 0;
    for (let round = 1; round <= rounds; round++) {
      const offsetMs = (random() * 2 - 1) * offsetMaxMs;
      const effective = random() < 1 / 3 ? 'at-period-end' : 'now';
      const { end, charges, wasUnsentAtCancel } = await race(world, domain, subscriptionId, { offsetMs, effective });
      if (wasUnsentAtCancel) unsent += 1;
      if (wasUnsentAtCancel && charges > 0) late.push(`${round}: ${effective}, ${end}`);
      ends.set(end, (ends.get(end) ?? 0) + 1);
      if (!legalEnds.has(end))
        broken.push(`${round}: ${effective}, ${offsetMs.toFixed(1)} ms from the renewal: ${end}`);
      if (round % reportEvery === 0) progress(`${round}/${rounds} races, ${ends.size} different ends`);
    }
    for (const [end, count] of [...ends].sort(([, a], [, b]) => b - a))
      progress(`${String(count).padStart(5)} × ${end}`);
    const tooFew = ends.size < endsMin ? ['the race was never close enough to mean anything'] : [];
    world.service = await world.startReplica();
    await world.advance({ hours: 1 });
    return [
      { name: 'ends in a legal order', examined: rounds, broken },
      { name: 'comes to different ends', examined: ends.size, broken: tooFew },
      { name: 'no charge after a committed cancel', examined: unsent, broken: late },
      ...(await checkInvariants(world)),
    ];
  } finally {
    await domain.stop();
    await world.stop();
  }
}

interface RaceEnd {
  readonly end: string;
  readonly charges: number;
  /** The cancellation was committed, and the charge, if one was begun, was not marked as sent: it never may be. */
  readonly wasUnsentAtCancel: boolean;
}

async function race(
  world: World,
  { ctx }: Domain,
  subscriptionId: string,
  { offsetMs, effective }: { offsetMs: number; effective: 'now' | 'at-period-end' },
): Promise<RaceEnd> {
  const id = await copySubscription(world, subscriptionId);
  await world.query(`update subscription set next_charge_at = business_now() where id = $1`, [id]);
  const request = { requestId: randomUUID(), subscriptionId: id, effective, reason: '', refund: 'policy' } as const;
  const [, wasUnsentAtCancel] = await Promise.all([
    pause(Math.max(0, -offsetMs)).then(() => renewDue(ctx)),
    pause(Math.max(0, offsetMs))
      .then(() => cancelSubscription(ctx, request))
      .then(async () => {
        const rows = await world.query(`select state from payment_attempt where subscription_id = $1`, [id]);
        return rows.every(({ state }) => state === 'PENDING' || state === 'DEAD');
      }),
  ]);
  await sendRefunds(ctx);
  const [row] = await world.query(
    `select s.status, s.cycle, a.id as attempt, a.state
     from subscription s left join payment_attempt a on a.subscription_id = s.id where s.id = $1`,
    [id],
  );
  const { charges } = await chargesOf(world, String(row!['attempt']));
  const charged = charges.length === 1 ? `charged, ${charges[0]!.refunded_minor} back` : `${charges.length} charges`;
  const end = `${String(row!['status'])} ${String(row!['cycle'])} ${String(row!['state'] ?? 'no attempt')}: ${charged}`;
  return { end, charges: charges.length, wasUnsentAtCancel };
}

/** By reference, so that a race does not read what all the races before it have left. */
async function chargesOf(world: World, reference: string): Promise<{ charges: { refunded_minor: string }[] }> {
  const response = await fetch(`${world.paymentSystem.url}/v1/payments?reference=${reference}`, {
    headers: { authorization: `Bearer ${world.paymentSystem.apiKey}` },
  });
  const { data } = (await response.json()) as { data: { refunded_minor: string; status: string }[] };
  return { charges: data.filter(({ status }) => status === 'succeeded') };
}
