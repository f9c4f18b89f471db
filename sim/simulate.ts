import { mapBounded } from '../src/payments/call-provider.ts';
import { checkEverything, type Check } from './checks.ts';
import { readFacts, summarize, type Summary } from './facts.ts';
import { createRandom, viewerId } from './random.ts';
import { billingTimeZone, startSimulatedSystem, type SimulatedSystem } from './simulated-system.ts';
import { act, createViewer, notice, type Viewer } from './viewer.ts';

export interface SimulationOptions {
  /** Of a migrated, empty database. */
  readonly databaseUrl: string;
  readonly natsUrl: string;
  readonly users: number;
  readonly months: number;
  readonly seed: number;
  /** Hears once a month of business time. */
  readonly progress: (line: string) => void;
  /** Before the checks: where a test plants what they have to find. */
  readonly atTheEnd?: (system: SimulatedSystem) => Promise<void>;
}

export interface Simulation {
  /** Of all facts in canonical order; the same for the same seed, users and months. */
  readonly hash: string;
  readonly summary: Summary;
  readonly checks: readonly Check[];
}

const firstDay = Temporal.PlainDate.from('2027-01-29');
/** Half past two at night does not exist when summer time begins, and does twice when it ends. */
const inSummer = Temporal.PlainTime.from('02:30');
/**
 * Retries have up to six hours of jitter, which comes from random ids. An hour more between two looks, as half past two
 * would have it when summer time ends, makes some of them due by the first look and some by the next; seven hours do not.
 */
const inWinter = Temporal.PlainTime.from('08:30');
const winterOffset = '+01:00';
const concurrencyMax = 8;

/**
 * Lets viewers live for months of business time. Time moves once a day and stands still while billing does what is due
 * and the viewers act: so every instant repeats from run to run, also of what has jitter in it, and the order in which
 * things happen at one instant changes no fact. Throws when anything but what a viewer may expect goes wrong.
 */
export async function simulate(options: SimulationOptions): Promise<Simulation> {
  const { users, months, seed, progress } = options;
  const days = firstDay.until(firstDay.add({ months }), { largestUnit: 'day' }).days;
  const viewers = Array.from({ length: users }, (_, number) =>
    createViewer(number, viewerId(seed, number), createRandom(`${seed} ${number}`), days),
  );
  const system = await startSimulatedSystem({ ...options, at: lookAt(0).toInstant() });
  try {
    const byId = new Map(viewers.map((viewer) => [viewer.userId, viewer]));
    for (let day = 0; day < days; day++) {
      const at = lookAt(day);
      await system.moveTo(at.toInstant());
      await live(system, byId, viewers, day, at.toInstant());
      if (at.day === at.daysInMonth) progress(await stateOfThings(system, at));
    }
    const facts = await readFacts(system, [...byId.keys()]);
    const summary = await summarize(system, facts);
    await options.atTheEnd?.(system);
    return { hash: facts.hash, summary, checks: await checkEverything(system) };
  } finally {
    await system.stop();
  }
}

/** When a day is looked at, counted from the first: the days on which summer time begins and ends still go by the time of their midnight. */
export function lookAt(day: number): Temporal.ZonedDateTime {
  const date = firstDay.add({ days: day });
  const isWinter = date.toZonedDateTime(billingTimeZone).offset === winterOffset;
  return date.toZonedDateTime({ timeZone: billingTimeZone, plainTime: isWinter ? inWinter : inSummer });
}

/** Everybody whose time has come acts once. */
async function live(
  system: SimulatedSystem,
  byId: ReadonlyMap<string, Viewer>,
  viewers: readonly Viewer[],
  day: number,
  at: Temporal.Instant,
): Promise<void> {
  const declined = await system.query<{ user_id: string }>(
    `select distinct user_id from subscription_event where occurred_at = $1 and kind = 'PAYMENT_DECLINED' order by 1`,
    [at.toString()],
  );
  for (const { user_id: userId } of declined) notice(byId.get(userId)!, day);
  const acting = viewers.filter(({ actsAt }) => actsAt === day);
  if (acting.length === 0) return;
  const [first = [], rest = []] = [false, true].map((wantsTrial) =>
    acting.filter((one) => one.wantsTrial === wantsTrial),
  );
  await mapBounded(first, concurrencyMax, (viewer) => act(system, viewer, day));
  await system.drain();
  // Of two at one instrument's trial only the first gets it: one after the other, so that it is always the same one.
  for (const viewer of rest) {
    await act(system, viewer, day);
    await system.drain();
  }
}

async function stateOfThings(system: SimulatedSystem, at: Temporal.ZonedDateTime): Promise<string> {
  const [row] = await system.query<Record<string, string>>(
    `select (select count(*) from subscription where ended_at is null and status <> 'INCOMPLETE') as open,
       (select count(*) from subscription_event where kind = 'RENEWED') as renewed,
       (select count(*) from subscription_event where kind = 'PAYMENT_DECLINED') as declined`,
  );
  return `${at.toPlainDate().toString()}: ${row!['open']} open, ${row!['renewed']} renewed, ${row!['declined']} declined`;
}
