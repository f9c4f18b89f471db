import { LockMode } from '@mikro-orm/core';
import { sql } from 'kysely';
import type { EntityManager } from '../db/orm.ts';
import { appendFacts } from '../ledger/append-facts.ts';
import type { JournalFact } from '../ledger/journal-fact.ts';
import { newId } from '../lib/ids.ts';
import type { AttemptRow } from './attempt-rows.ts';
import { Dispute, type DisputeState } from './dispute.ts';
import type { DisputeOutcome } from './provider.ts';
import type { ProviderKey } from './providers.ts';

/** An open dispute is asked for once a day; weeks pass until a bank decides. */
const checkEveryHours = 24;

/** When an open dispute is looked up again. */
export function nextDisputeCheck(now: Temporal.Instant): Temporal.Instant {
  return now.add({ hours: checkEveryHours });
}

/** What the provider's words are here; undefined for a question that moved no money, which is not written down. */
const states: Readonly<Record<DisputeOutcome['status'], DisputeState | undefined>> = {
  'no funds moved': undefined,
  withdrawn: 'OPEN',
  reinstated: 'REINSTATED',
  lost: 'LOST',
};

/** What was new about a dispute; `known` when nothing was. */
export interface DisputeNews {
  readonly state: DisputeState | 'known';
  /** Whether it was heard of for the first time. */
  readonly isFirst: boolean;
}

/**
 * Writes down what the provider says of a dispute, with the money that moved, under the lock of its attempt; states
 * move only forward, so that a repeat or an old answer changes nothing. An outcome that moved no money is not written.
 */
export async function storeDispute(
  tx: EntityManager,
  attempt: AttemptRow,
  outcome: DisputeOutcome,
  now: Temporal.Instant,
): Promise<DisputeNews> {
  const said = states[outcome.status];
  const { provider, merchantAccount } = attempt;
  const { providerDisputeId } = outcome;
  const known = await tx.findOne(
    Dispute,
    { provider, merchantAccount, providerDisputeId },
    { lockMode: LockMode.PESSIMISTIC_WRITE, refresh: true },
  );
  if (said === undefined || !isNews(said, known?.state)) {
    return { state: 'known', isFirst: false };
  }
  const ends = { state: said, closedAt: said === 'OPEN' ? null : now };
  const nextCheckAt = said === 'OPEN' ? nextDisputeCheck(now) : null;
  const { currencyCode, amountMinor } = outcome.amount;
  const dispute = known
    ? Object.assign(known, ends, { nextCheckAt })
    : tx.create(Dispute, {
        id: newId(),
        attemptId: attempt.id,
        provider,
        merchantAccount,
        providerDisputeId,
        amountMinor,
        currencyCode,
        reason: outcome.reason,
        openedAt: now,
        nextCheckAt,
        ...ends,
      });
  await tx.flush();
  if (said === 'LOST') await giveUpUnsentRefunds(tx, attempt.id, now);
  await appendFacts(tx, factsOf(attempt, dispute, known === null), now);
  return { state: said, isFirst: known === null };
}

/** A dispute moves only forward, and is decided once. */
function isNews(said: DisputeState, known: DisputeState | undefined): boolean {
  return known === undefined || (known === 'OPEN' && said !== 'OPEN');
}

/**
 * Which of the account's disputes say something that is not written down, those apart that are known to be about no
 * attempt of ours. A look without locks: what is old stays old.
 */
export async function findDisputeNews(
  em: EntityManager,
  { provider, merchantAccount }: ProviderKey,
  outcomes: readonly DisputeOutcome[],
): Promise<DisputeOutcome[]> {
  const { rows } = await sql<{ id: string; state: DisputeState | null }>`
    select provider_dispute_id as id, state from dispute
    where provider = ${provider} and merchant_account = ${merchantAccount} and provider_dispute_id = any(${idsOf(outcomes)})
    union all
    select provider_dispute_id, null from foreign_dispute
    where provider = ${provider} and merchant_account = ${merchantAccount} and provider_dispute_id = any(${idsOf(outcomes)})
  `.execute(em.getKysely());
  const known = new Map(rows.map(({ id, state }) => [id, state]));
  return outcomes.filter(({ providerDisputeId, status }) => {
    const [said, state] = [states[status], known.get(providerDisputeId)];
    return said !== undefined && state !== null && isNews(said, state);
  });
}

const idsOf = (outcomes: readonly DisputeOutcome[]) => outcomes.map(({ providerDisputeId }) => providerDisputeId);

/** The bank has given the money back already: what we never sent would give it back twice. */
async function giveUpUnsentRefunds(tx: EntityManager, attemptId: string, now: Temporal.Instant): Promise<void> {
  await sql`
    update refund set state = 'FAILED', note = 'lost in a dispute', next_try_at = null, settled_at = ${now.toString()}
    where attempt_id = ${attemptId} and state = 'PENDING' and tries = 0
  `.execute(tx.getKysely());
}

/** Whether another dispute of the subscription's payments is still open. */
export async function hasOpenDispute(tx: EntityManager, subscriptionId: string): Promise<boolean> {
  const { rows } = await sql<{ found: boolean }>`
    select exists (select from dispute d join payment_attempt a on a.id = d.attempt_id
      where a.subscription_id = ${subscriptionId} and d.state = 'OPEN') as found
  `.execute(tx.getKysely());
  return rows[0]!.found;
}

function factsOf(attempt: AttemptRow, dispute: Dispute, isFirst: boolean): JournalFact[] {
  const fact = (kind: 'DISPUTED' | 'REINSTATED'): JournalFact => ({
    kind,
    subscriptionId: attempt.subscriptionId,
    paymentId: attempt.paymentId,
    attemptId: attempt.id,
    provider: attempt.provider,
    merchantAccount: attempt.merchantAccount,
    providerPaymentId: attempt.providerPaymentId!,
    amount: { currencyCode: dispute.currencyCode, amountMinor: dispute.amountMinor },
    disputeId: dispute.id,
    providerDisputeId: dispute.providerDisputeId,
  });
  return [...(isFirst ? [fact('DISPUTED')] : []), ...(dispute.state === 'REINSTATED' ? [fact('REINSTATED')] : [])];
}
