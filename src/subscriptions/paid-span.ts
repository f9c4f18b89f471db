import { sql } from 'kysely';
import { optionalInstantFromRow } from '../db/instant-type.ts';
import type { EntityManager } from '../db/orm.ts';
import type { PaidSpan } from './plan-change-quote.ts';
import type { SubscriptionState } from './subscription.ts';

/** A payment that the time from `start` on was bought with, newest first. */
export interface SpanPayment {
  readonly id: string;
  /** What of it has not gone back, and is not on its way back. */
  readonly leftMinor: bigint;
  /** Of a change of plan: the value of the unused time that it took over from the payment before. */
  readonly creditMinor: bigint;
  /** Of a change of plan: when it began to apply. */
  readonly changedAt: Temporal.Instant | null;
}

/** The time that was paid for last, and with what. */
export interface BoughtSpan extends PaidSpan {
  readonly payments: readonly [SpanPayment, ...SpanPayment[]];
}

interface Row {
  id: string;
  left_minor: string;
  credit_minor: string;
  changed_at: string | null;
  refunded_since: string;
}

/**
 * What the rest of the current period was bought with (D8): the last payment that succeeded, and where that one was an
 * upgrade, those whose unused time it took over. It is worth the money that was paid and has not gone back; an older
 * payment counts with what was taken over of it, less what of it went back since. Undefined where nothing was paid.
 */
export async function findPaidSpan(tx: EntityManager, state: SubscriptionState): Promise<BoughtSpan | undefined> {
  const { rows } = await sql<Row>`
    with recursive chain as (
      (select p.*, 0 as depth from payment p
        where p.subscription_id = ${state.id} and p.status = 'SUCCEEDED' and p.purpose not like 'setup:%'
        order by p.settled_at desc, p.id desc limit 1)
      union all
      select p.*, chain.depth + 1 from chain join payment p on p.id = chain.credited_payment_id
    ), head as (select id from chain where depth = 0)
    select chain.id, chain.amount_minor - coalesce(gone.total, 0) as left_minor, chain.credit_minor,
      case when chain.purpose like 'change:%' then chain.period_start end as changed_at,
      coalesce(gone.since, 0) as refunded_since
    from chain, head, lateral (
      select sum(back.amount_minor) as total, sum(back.amount_minor) filter (where back.id > head.id) as since
      from payment_attempt a, lateral (
        select r.id, r.amount_minor from refund r
          where r.attempt_id = a.id and r.provider_payment_id = a.provider_payment_id and r.state <> 'FAILED'
        union all
        select d.id, d.amount_minor from dispute d where d.attempt_id = a.id and d.state = 'LOST') back
      where a.payment_id = chain.id and a.state = 'SUCCEEDED' and not a.surplus) gone
    order by chain.depth
  `.execute(tx.getKysely());
  const [last, ...older] = rows;
  if (!last) return undefined;
  const goneSince = older.reduce((sum, row) => sum + BigInt(row.refunded_since), 0n);
  const creditLeft = BigInt(last.credit_minor) - goneSince;
  const toPayment = (row: Row): SpanPayment => ({
    id: row.id,
    leftMinor: BigInt(row.left_minor),
    creditMinor: BigInt(row.credit_minor),
    changedAt: optionalInstantFromRow(row.changed_at),
  });
  return {
    start: optionalInstantFromRow(last.changed_at) ?? state.currentPeriodStart!,
    valueMinor: BigInt(last.left_minor) + (creditLeft > 0n ? creditLeft : 0n),
    payments: [toPayment(last), ...older.map(toPayment)],
  };
}
