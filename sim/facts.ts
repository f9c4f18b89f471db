import { createHash } from 'node:crypto';
import { billingTimeZone, type SimulatedSystem } from './simulated-system.ts';

/** What happened, without an id in it: `instant viewer.subscription kind …`, in canonical order. */
export interface Facts {
  readonly lines: readonly string[];
  readonly hash: string;
}

export interface Summary {
  readonly activated: number;
  readonly renewed: number;
  readonly declined: number;
  /** Renewals after a decline. */
  readonly recovered: number;
  /** Ended for money that did not come. */
  readonly churnedInvoluntary: number;
  /** Ended because the viewer wanted it. */
  readonly churnedVoluntary: number;
  readonly trials: number;
  readonly refunds: number;
  /** Minor units, refunds taken off. */
  readonly revenueMinor: bigint;
  readonly facts: number;
  /** Periods that begin on 29 February, and in the hour that summer time leaves out. */
  readonly onLeapDay: number;
  readonly inTheGap: number;
}

interface FactRow {
  at: Date;
  user_id: string;
  subscription: string;
  what: string;
}

/** Subscriptions are numbered by viewer and order; what they say of money and spans is part of it. */
const query = `
  with numbered as (
    select id, user_id, row_number() over (partition by user_id order by created_at, id) as number from subscription
  )
  select occurred_at as at, n.user_id, n.number::text as subscription, e.kind || ' ' || e.reason as what
  from subscription_event e join numbered n on n.id = e.subscription_id
  union all
  select f.occurred_at, n.user_id, n.number::text, concat_ws(' ', 'JOURNAL', f.kind, f.amount_minor, f.currency_code,
    extract(epoch from f.period_start)::bigint, extract(epoch from f.period_end)::bigint)
  from journal_fact f join numbered n on n.id = f.subscription_id`;

/** All of the history and the journal. `userIds` are the viewers in the order of their numbers. */
export async function readFacts(system: SimulatedSystem, userIds: readonly string[]): Promise<Facts> {
  const numbers = new Map(userIds.map((userId, number) => [userId, number]));
  const rows = await system.query<FactRow>(query);
  const lines = rows
    .map((row) => `${row.at.toISOString()} ${numbers.get(row.user_id)}.${row.subscription} ${row.what}`)
    .sort();
  return { lines, hash: createHash('sha256').update(lines.join('\n')).digest('hex') };
}

/** What a person wants to know of the years that passed. */
export async function summarize(system: SimulatedSystem, { lines }: Facts): Promise<Summary> {
  const [row] = await system.query<Record<string, string>>(
    `select
       count(*) filter (where kind = 'ACTIVATED') as activated,
       count(*) filter (where kind = 'RENEWED') as renewed,
       count(*) filter (where kind = 'PAYMENT_DECLINED') as declined,
       count(*) filter (where kind = 'RENEWED' and before ->> 'status' = 'PAST_DUE') as recovered,
       count(*) filter (where kind = 'CANCELED' and before ->> 'status' = 'PAST_DUE' and reason = 'DUNNING_ENDED')
         as involuntary,
       count(*) filter (where kind = 'CANCELED' and reason <> 'DUNNING_ENDED') as voluntary,
       count(*) filter (where kind = 'TRIAL_STARTED') as trials,
       (select count(*) from refund where state = 'SUCCEEDED') as refunds,
       (select coalesce(sum(case kind when 'CHARGED' then amount_minor when 'REFUNDED' then -amount_minor end), 0)
         from journal_fact) as revenue,
       count(*) filter (where kind in ('ACTIVATED', 'RENEWED') and to_char((after ->> 'current_period_start')::timestamptz
         at time zone '${billingTimeZone}', 'MM-DD') = '02-29') as leap,
       count(*) filter (where kind = 'RENEWED' and to_char((after ->> 'current_period_start')::timestamptz
         at time zone '${billingTimeZone}', 'HH24:MI') = '03:30') as gap
     from subscription_event`,
  );
  const number = (name: string) => Number(row![name]);
  return {
    activated: number('activated'),
    renewed: number('renewed'),
    declined: number('declined'),
    recovered: number('recovered'),
    churnedInvoluntary: number('involuntary'),
    churnedVoluntary: number('voluntary'),
    trials: number('trials'),
    refunds: number('refunds'),
    revenueMinor: BigInt(row!['revenue']!),
    facts: lines.length,
    onLeapDay: number('leap'),
    inTheGap: number('gap'),
  };
}
