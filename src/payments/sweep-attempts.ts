import { sql } from 'kysely';
import { businessNow } from '../db/clock.ts';
import { inTransaction } from '../db/orm.ts';
import { attemptLeaseMs, findAttempts, nextCheckAfter, type AttemptRow } from './attempt-rows.ts';
import { callProvider, mapBounded, type CallOutcome } from './call-provider.ts';
import { findProviderOf, notConfigured, providerOf, type PaymentsContext } from './providers.ts';
import { sendCharges } from './send-charges.ts';

const sweepBatchMax = 100;
/** A key that the provider is about to forget is not sent again: forgotten, it would charge a second time. */
const keyReserveMs = 4 * 3_600_000;

export interface SweptAttempt {
  readonly attemptId: string;
  readonly outcome: CallOutcome;
}

/**
 * Looks at attempts that are past their lease and due for a look: asks the provider, by its id or by our reference. A
 * charge that the provider does not have is sent again under the same key while that is safe; what may not be sent
 * again, or is pointless by now, is told to the settle as `absent`. The caller settles. Never a new key while the
 * outcome is open.
 */
export async function sweepAttempts(ctx: PaymentsContext): Promise<SweptAttempt[]> {
  const { attempts, now } = await claimOpenAttempts(ctx);
  const looked = await Promise.all(
    [...Map.groupBy(attempts, (attempt) => attempt.provider)].map(([name, group]) =>
      mapBounded(group, ctx.providers.get(name)?.capabilities.maxConcurrency ?? 1, async (attempt) => ({
        attempt,
        outcome: await lookUp(ctx, attempt),
      })),
    ),
  );
  const [again, told] = partition(
    looked.flat(),
    ({ attempt, outcome }) => outcome.kind === 'absent' && maySend(ctx, attempt, now),
  );
  const sent = await sendCharges(
    ctx,
    again.map(({ attempt }) => attempt),
  );
  return [
    ...told.map(({ attempt, outcome }) => ({ attemptId: attempt.id, outcome })),
    ...sent.map(({ attempt, outcome }) => ({ attemptId: attempt.id, outcome: outcome ?? absent(attempt) })),
  ];
}

function partition<T>(items: readonly T[], isFirst: (item: T) => boolean): [first: T[], rest: T[]] {
  const groups = Map.groupBy(items, isFirst);
  return [groups.get(true) ?? [], groups.get(false) ?? []];
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

async function lookUp(ctx: PaymentsContext, attempt: AttemptRow): Promise<CallOutcome> {
  if (attempt.state === 'PENDING' && attempt.kind === 'charge') return absent(attempt);
  const provider = findProviderOf(ctx, attempt);
  if (!provider) {
    ctx.log.error({ attempt: attempt.id }, notConfigured(attempt));
    return unknown(notConfigured(attempt));
  }
  // The customer may still confirm a charge of a method that is no longer theirs to be charged: it is killed first.
  if (attempt.state === 'WAITING' && attempt.superseded && provider.capabilities.canCancelPending) {
    const canceled = await callProvider(() => provider.cancelPending(attempt.providerPaymentId!));
    return canceled.kind === 'not executed' || canceled.kind === 'refused' ? unknown(canceled.note) : canceled;
  }
  let isAbsent = false;
  const outcome = await callProvider(async () => {
    const found = await provider.lookUp({
      providerPaymentId: attempt.providerPaymentId ?? undefined,
      reference: attempt.id,
    });
    isAbsent = found === undefined;
    return found ?? { kind: 'dead' };
  });
  // A page that was not opened yet may still be: whoever asks again goes on with it until the checkout's time is over.
  if (isAbsent && attempt.kind === 'checkout') return unknown('no such page yet');
  if (isAbsent) return absent(attempt);
  // A look-up that was refused or not answered says nothing about the payment.
  if (outcome.kind === 'not executed' || outcome.kind === 'refused') return unknown(outcome.note);
  return outcome;
}

function unknown(note: string): CallOutcome {
  return { kind: 'unknown', note };
}

function absent({ state }: AttemptRow): CallOutcome {
  return { kind: 'absent', state };
}

/**
 * Whether a charge that the provider does not have may be sent. One that was certainly never executed: as long as its
 * period is not over, for periods that passed whole are forgiven. Any other: while its key is remembered for certain.
 */
function maySend(ctx: PaymentsContext, attempt: AttemptRow, now: Temporal.Instant): boolean {
  if (attempt.state === 'PENDING') {
    return attempt.periodEnd === null || Temporal.Instant.compare(now, attempt.periodEnd) < 0;
  }
  const { idempotencyWindowMs } = providerOf(ctx, attempt).capabilities;
  const ageMs = now.epochMilliseconds - attempt.createdAt.epochMilliseconds;
  return ageMs < idempotencyWindowMs - keyReserveMs;
}
