import { setTimeout as pause } from 'node:timers/promises';
import { sql } from 'kysely';
import { businessNow, setSandboxClock } from '../db/clock.ts';
import { inTransaction, type EntityManager } from '../db/orm.ts';
import type { CallContext } from '../identity/call-context.ts';
import { BillingError } from '../lib/billing-error.ts';
import { isUnannounced, nextAnnouncement } from '../subscriptions/announce-charges.ts';
import type { Delivery, DeliveryQuery } from './list-deliveries.ts';
import type { Script } from './script-outcome.ts';

export interface SandboxActivity {
  readonly nextAt: Temporal.Instant | undefined;
  readonly undeliveredWebhooks: number;
  readonly callsInFlight: number;
  /** When a payment was last disputed there; undefined for never, or where nobody tells. */
  readonly latestDisputeAt: Temporal.Instant | undefined;
}

/** The payment system's own clock, which in the sandbox goes with ours. */
export interface SandboxControl {
  /** Does all that became due by then, or with `timeOnly` leaves it for the next call. */
  setClock(now: Temporal.Instant, running: boolean, options?: { timeOnly: boolean }): Promise<void>;
  /** What it has left to do at its present time, and when it has something to do next. */
  activity(): Promise<SandboxActivity>;
  /** Replaces what is still to be played for a viewer; a double plays no scripts. */
  script?(userId: string, script: Script): Promise<void>;
  /** What became of its notices, newest first; a double lists none. */
  deliveries?(query: DeliveryQuery): Promise<Delivery[]>;
}

export interface SandboxContext extends CallContext {
  readonly sandbox: SandboxControl;
}

export interface AdvanceClockResult {
  reachedAt: Temporal.Instant;
  /** The target is reached and nothing is left to do there. */
  done: boolean;
  unresolved: string[];
}

/** Looks become rarer, so that half a minute of waiting, as for the lease of a replica that died, is not a busy one. */
const [pollMinMs, pollMaxMs, pollGrowth] = [10, 250, 1.25];
const stopsMax = 100_000;

/** The sandbox's business clock. */
export async function getClock(ctx: CallContext): Promise<Temporal.Instant> {
  return businessNow(ctx.em.fork());
}

/**
 * Moves business time forward: to the next instant at which billing or the payment system has something to do, waits
 * until that is done (calls, notices, messages to Auth), and so on until the target or until `untilMs` (real time, ms
 * since the epoch). Whoever did not get `done` repeats the call with the same target. Throws CLOCK_BACKWARDS.
 */
export async function advanceClock(
  ctx: SandboxContext,
  input: { to: (now: Temporal.Instant) => Temporal.Instant; untilMs: number },
): Promise<AdvanceClockResult> {
  const em = ctx.em.fork();
  let now = await businessNow(em);
  const target = input.to(now);
  if (Temporal.Instant.compare(target, now) < 0) {
    throw new BillingError('invalid', 'CLOCK_BACKWARDS', 'the clock only moves forward', {
      metadata: { now: now.toString() },
    });
  }
  const running = await clockRuns(em);
  for (let stop = 0; stop < stopsMax; stop++) {
    const unresolved = await drain(ctx, em, input.untilMs);
    now = await businessNow(em);
    const reached = Temporal.Instant.compare(now, target) >= 0;
    if (unresolved.length > 0 || reached || Date.now() >= input.untilMs) {
      return { reachedAt: now, done: reached && unresolved.length === 0, unresolved };
    }
    const { nextAt, latestDisputeAt } = await ctx.sandbox.activity();
    const next = earliest([target, await nextInstant(em, now, latestDisputeAt), nextAt]);
    await moveClock(ctx, next, running);
  }
  throw new Error('more stops on the way than can be');
}

/**
 * Sets both clocks. The payment system does what became due only when ours is set too: the notice of a page that
 * expired overnight would find yesterday here, and be written down under it.
 */
export async function moveClock(ctx: SandboxContext, to: Temporal.Instant, running: boolean): Promise<void> {
  await ctx.sandbox.setClock(to, running, { timeOnly: true });
  await inTransaction(ctx.em, (tx) => setSandboxClock(tx, to, running));
  await ctx.sandbox.setClock(to, running);
}

async function clockRuns(em: EntityManager): Promise<boolean> {
  const { rows } = await sql<{ running: boolean }>`select running from sandbox_clock`.execute(em.getKysely());
  return rows[0]?.running ?? true;
}

function earliest(instants: readonly (Temporal.Instant | undefined)[]): Temporal.Instant {
  return instants.filter((instant) => instant !== undefined).sort(Temporal.Instant.compare)[0]!;
}

/** Waits until nothing is left to do at the present business time; gives what is left when the time is over. */
async function drain(ctx: SandboxContext, em: EntityManager, untilMs: number): Promise<string[]> {
  for (let pollMs = pollMinMs; ; pollMs = Math.min(pollMs * pollGrowth, pollMaxMs)) {
    ctx.wake('renewals');
    ctx.wake('webhooks');
    ctx.wake('relay');
    const left = await unresolvedWork(ctx, em);
    // What one part has just finished may be work for another: only two looks in a row are believed.
    const isDone = left.length === 0 && (await unresolvedWork(ctx, em)).length === 0;
    if (isDone || Date.now() >= untilMs) return left;
    await pause(pollMs);
  }
}

async function unresolvedWork(ctx: SandboxContext, em: EntityManager): Promise<string[]> {
  const { rows } = await sql<
    Record<
      | 'charges'
      | 'announcements'
      | 'transitions'
      | 'changes'
      | 'attempts'
      | 'notices'
      | 'refunds'
      | 'disputes'
      | 'messages',
      number
    > & {
      looks_from: string | null;
    }
  >`
    with clock as (select business_now() as now)
    select
      (select count(*)::int from subscription, clock
        where next_charge_at <= now and open_payment_id is null and payment_method_id is not null) as charges,
      (select count(*)::int from subscription s, clock where ${isUnannounced(sql`now`)}) as announcements,
      (select count(*)::int from subscription, clock
        where next_transition_at <= now
          and (status = 'INCOMPLETE' or open_payment_id is null or grace_until <= now)) as transitions,
      (select count(*)::int from payment, clock where status = 'PENDING' and expires_at <= now) as changes,
      (select count(*)::int from payment_attempt, clock
        where next_check_at <= now or (next_check_at is not null and lease_until > clock_timestamp())) as attempts,
      (select count(*)::int from webhook_event, clock
        where next_try_at <= now or lease_until > clock_timestamp()) as notices,
      (select count(*)::int from dispute, clock where next_check_at <= now) as disputes,
      (select min(looked_until)::text from dispute_look, clock
        where next_look_at <= now or lease_until > clock_timestamp()) as looks_from,
      (select count(*)::int from refund, clock
        where not exists (select from dispute d where d.attempt_id = refund.attempt_id and d.state = 'OPEN')
          and (next_try_at <= now or (next_try_at is not null and lease_until > clock_timestamp()))) as refunds,
      (select count(*)::int from outbox_message where published_at is null)
        + (select count(*)::int from customer_notice where published_at is null) as messages
  `.execute(em.getKysely());
  const row = rows[0]!;
  const { undeliveredWebhooks, callsInFlight, latestDisputeAt } = await ctx.sandbox.activity();
  const left: [number, string][] = [
    [row.charges, 'renewals are due'],
    [row.announcements, 'charges have to be announced'],
    [row.transitions, 'subscriptions have to change'],
    [row.changes, 'changes of plan have to be given up'],
    [row.attempts, 'payments are open'],
    [row.notices, 'notices are not worked off'],
    [row.refunds, 'refunds are open'],
    [row.disputes, 'disputes have to be looked up'],
    [findsSomething(row.looks_from, latestDisputeAt) ? 1 : 0, 'list of disputes has to be looked through'],
    [row.messages, 'messages are not published'],
    [undeliveredWebhooks, 'notices of the payment system are not delivered'],
    [callsInFlight, 'calls to the payment system are under way'],
  ];
  return left.flatMap(([count, what]) => (count > 0 ? [`${count} ${what}`] : []));
}

/**
 * Whether the daily look for disputes has something to find: something was disputed since the last one. Every other look
 * changes nothing, and would make a stop, and a wait, of every day.
 */
function findsSomething(looksFrom: string | null, latestDisputeAt: Temporal.Instant | undefined): boolean {
  if (looksFrom === null || latestDisputeAt === undefined) return false;
  return Temporal.Instant.compare(looksFrom, latestDisputeAt) <= 0;
}

/** When something has to happen next; the daily look for disputes as in `findsSomething`. */
async function nextInstant(
  em: EntityManager,
  now: Temporal.Instant,
  latestDisputeAt: Temporal.Instant | undefined,
): Promise<Temporal.Instant | undefined> {
  const { rows } = await sql<{ next: string | null }>`
    select least(
      (select min(next_charge_at) from subscription where next_charge_at > ${now.toString()}),
      ${nextAnnouncement(now)},
      (select min(next_transition_at) from subscription where next_transition_at > ${now.toString()}),
      (select min(expires_at) from payment where status = 'PENDING' and expires_at > ${now.toString()}),
      (select min(next_check_at) from payment_attempt where next_check_at > ${now.toString()}),
      (select min(next_try_at) from refund where next_try_at > ${now.toString()}),
      (select min(next_check_at) from dispute where next_check_at > ${now.toString()}),
      (select min(next_look_at) from dispute_look
        where next_look_at > ${now.toString()} and looked_until <= ${latestDisputeAt?.toString() ?? null}::timestamptz),
      (select min(next_try_at) from webhook_event where next_try_at > ${now.toString()}))::text as next
  `.execute(em.getKysely());
  const next = rows[0]!.next;
  return next === null ? undefined : Temporal.Instant.from(next);
}
