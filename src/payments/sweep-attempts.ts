import { sql } from 'kysely';
import { businessNow } from '../db/clock.ts';
import { inTransaction } from '../db/orm.ts';
import { attemptLeaseMs, findAttempts, nextCheckAfter, type AttemptRow } from './attempt-rows.ts';
import { callProvider, mapBounded, type CallOutcome } from './call-provider.ts';
import { providerNamed, type PaymentsContext } from './providers.ts';
import { sendCharges } from './send-charges.ts';

const sweepBatchMax = 100;
/** A key that the provider is about to forget is not sent again: forgotten, it would charge a second time. */
const keyReserveMs = 4 * 3_600_000;

export interface SweptAttempt {
  readonly attemptId: string;
  readonly outcome: CallOutcome;
}

/**
 * Looks at attempts that are past their lease and due for a look: asks the provider, by its id or by our reference; a
 * charge that the provider does not have is sent again under the same key while that is safe. The caller settles. Never
 * a new key while the outcome is open.
 */
export async function sweepAttempts(ctx: PaymentsContext): Promise<SweptAttempt[]> {
  const { attempts, now } = await claimOpenAttempts(ctx);
  const looked = await Promise.all(
    [...Map.groupBy(attempts, (attempt) => attempt.provider)].map(([name, group]) =>
      mapBounded(group, providerNamed(ctx, name).capabilities.maxConcurrency, async (attempt) => ({
        attempt,
        outcome: await lookUp(ctx, attempt),
      })),
    ),
  );
  const found = looked.flat();
  const again = found.filter(({ attempt, outcome }) => outcome === 'absent' && maySendAgain(ctx, attempt, now));
  for (const { attempt } of found.filter(({ attempt, outcome }) => outcome === 'absent' && isLost(ctx, attempt, now))) {
    ctx.log.error({ attempt: attempt.id, provider: attempt.provider }, 'charge is lost: a person has to look');
  }
  const sent = await sendCharges(
    ctx,
    again.map(({ attempt }) => attempt),
    ['PENDING', 'SENT', 'UNKNOWN'],
  );
  return [
    ...found.flatMap(({ attempt, outcome }) => (outcome === 'absent' ? [] : [{ attemptId: attempt.id, outcome }])),
    ...sent.flatMap(({ attempt, outcome }) => (outcome ? [{ attemptId: attempt.id, outcome }] : [])),
  ];
}

async function claimOpenAttempts(ctx: PaymentsContext): Promise<{ attempts: AttemptRow[]; now: Temporal.Instant }> {
  return inTransaction(ctx.em, async (tx) => {
    const now = await businessNow(tx);
    const { rows } = await sql<{ id: string; checks: number }>`
      select id, checks from payment_attempt
      where next_check_at <= ${now.toString()} and lease_until <= clock_timestamp()
      order by next_check_at, id limit ${sweepBatchMax} for update skip locked
    `.execute(tx.getKysely());
    await sql`
      update payment_attempt a set checks = a.checks + 1, next_check_at = c.next_check_at,
        lease_until = clock_timestamp() + make_interval(secs => ${attemptLeaseMs / 1000})
      from unnest(${rows.map(({ id }) => id)}::uuid[],
        ${rows.map(({ checks }) => nextCheckAfter(checks + 1, now).toString())}::timestamptz[]) as c(id, next_check_at)
      where a.id = c.id
    `.execute(tx.getKysely());
    return {
      attempts: await findAttempts(
        tx,
        rows.map(({ id }) => id),
      ),
      now,
    };
  });
}

/** `absent`: the provider has no such payment, or it was certainly never sent. */
async function lookUp(ctx: PaymentsContext, attempt: AttemptRow): Promise<CallOutcome | 'absent'> {
  if (attempt.state === 'PENDING' && attempt.kind === 'charge') return 'absent';
  const provider = providerNamed(ctx, attempt.provider);
  let absent = false;
  const outcome = await callProvider(async () => {
    const found = await provider.lookUp({
      providerPaymentId: attempt.providerPaymentId ?? undefined,
      reference: attempt.id,
    });
    absent = found === undefined;
    return found ?? { kind: 'dead' };
  });
  if (absent) return 'absent';
  // A look-up that was refused or not answered says nothing about the payment.
  if (outcome.kind === 'not executed' || outcome.kind === 'refused') return { kind: 'unknown', note: outcome.note };
  return outcome;
}

/** The provider does not have it, and its key is too old to be sent again. It stays unknown, and is never charged anew. */
function isLost(ctx: PaymentsContext, attempt: AttemptRow, now: Temporal.Instant): boolean {
  return attempt.kind === 'charge' && !maySendAgain(ctx, attempt, now);
}

function maySendAgain(ctx: PaymentsContext, attempt: AttemptRow, now: Temporal.Instant): boolean {
  if (attempt.kind !== 'charge') return false;
  const { idempotencyWindowMs } = providerNamed(ctx, attempt.provider).capabilities;
  const ageMs = now.epochMilliseconds - attempt.createdAt.epochMilliseconds;
  return ageMs < idempotencyWindowMs - keyReserveMs;
}
