import { sql } from 'kysely';
import type { EntityManager } from '../db/orm.ts';
import { findingsMax, type FindingSink } from './findings.ts';

export type BooksClass = 'not in the journal' | 'not in the books';

export interface BooksResult {
  readonly charges: number;
  readonly refunds: number;
}

/**
 * Compares the journal with the attempts and refunds that it was written beside, in both directions. What was settled
 * before the journal's first batch is older than the journal. Catches what a chain cannot: batches cut off its end.
 */
export async function verifyBooks(tx: EntityManager, findings: FindingSink<BooksClass>): Promise<BooksResult> {
  const db = tx.getKysely();
  const { rows: first } = await sql<{
    at: string | null;
  }>`select min(recorded_at)::text as at from journal_batch`.execute(db);
  const since = first[0]!.at;
  const { rows: counts } = await sql<{ charges: string; refunds: string }>`
    select (select count(*) from payment_attempt where state = 'SUCCEEDED' and amount_minor > 0 and settled_at >= ${since}) as charges,
      (select count(*) from refund where state = 'SUCCEEDED' and settled_at >= ${since}) as refunds
  `.execute(db);
  const { rows: unwritten } = await sql<{ what: string }>`
    (select 'charge of attempt ' || a.id as what from payment_attempt a
      where a.state = 'SUCCEEDED' and a.amount_minor > 0 and a.settled_at >= ${since} and not exists (
        select from journal_fact f where f.attempt_id = a.id and f.kind = 'CHARGED'
          and f.provider_payment_id = a.provider_payment_id)
      limit ${findingsMax})
    union all
    (select 'refund ' || r.id from refund r
      where r.state = 'SUCCEEDED' and r.settled_at >= ${since} and not exists (
        select from journal_fact f where f.refund_id = r.id and f.kind = 'REFUNDED')
      limit ${findingsMax})
    union all
    (select 'dispute ' || d.id from dispute d, unnest(array['DISPUTED', 'REINSTATED']) as kind
      where d.opened_at >= ${since} and (kind = 'DISPUTED' or d.state = 'REINSTATED') and not exists (
        select from journal_fact f where f.refund_id = d.id and f.kind = kind)
      limit ${findingsMax})
  `.execute(db);
  for (const { what } of unwritten) findings.add('not in the journal', `${what} has no fact`);
  // Money that the provider took a second time for an attempt has another payment of the provider's than the attempt.
  // Surplus is as much as the provider took, whatever the attempt asked for.
  const { rows: unexplained } = await sql<{ what: string }>`
    (select 'charge of attempt ' || f.attempt_id as what from journal_fact f
        left join payment_attempt a on a.id = f.attempt_id
      where f.kind = 'CHARGED' and (a.id is null
        or (a.subscription_id, a.payment_id, a.provider, a.merchant_account)
          <> (f.subscription_id, f.payment_id, f.provider, f.merchant_account)
        or (a.provider_payment_id = f.provider_payment_id and (a.state <> 'SUCCEEDED'
          or (not a.surplus and (a.amount_minor, a.currency_code) <> (f.amount_minor, f.currency_code)))))
      limit ${findingsMax})
    union all
    (select 'refund ' || f.refund_id from journal_fact f left join refund r on r.id = f.refund_id
      where f.kind = 'REFUNDED' and (r.id is null
        or (r.attempt_id, r.provider, r.merchant_account, r.provider_payment_id)
          <> (f.attempt_id, f.provider, f.merchant_account, f.provider_payment_id)
        or (r.state, r.amount_minor, r.currency_code, r.provider_refund_id)
          is distinct from ('SUCCEEDED', f.amount_minor, f.currency_code, f.provider_refund_id))
      limit ${findingsMax})
    union all
    (select 'dispute ' || f.refund_id from journal_fact f left join dispute d on d.id = f.refund_id
      where f.kind in ('DISPUTED', 'REINSTATED') and (d.id is null
        or (d.attempt_id, d.provider, d.merchant_account, d.provider_dispute_id, d.amount_minor, d.currency_code)
          <> (f.attempt_id, f.provider, f.merchant_account, f.provider_refund_id, f.amount_minor, f.currency_code)
        or (f.kind = 'REINSTATED' and d.state <> 'REINSTATED'))
      limit ${findingsMax})
  `.execute(db);
  for (const { what } of unexplained) findings.add('not in the books', `${what} is not what its row says`);
  return { charges: Number(counts[0]!.charges), refunds: Number(counts[0]!.refunds) };
}
