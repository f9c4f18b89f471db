import { sql } from 'kysely';
import { instantFromRow } from '../db/instant-type.ts';
import type { EntityManager } from '../db/orm.ts';
import { findingsMax, type FindingSink } from './findings.ts';

export type PeriodClass = 'overlap' | 'hole';

interface PeriodRow {
  subscription_id: string;
  kind: string;
  starts: string;
  ends: string;
  covered_until: string;
  is_hole: boolean;
}

/**
 * Whether what was sold, forgiven and given to each subscription tiles; forgiven twice is harmless, since nobody paid.
 * In SQL, because it has to be in another order than the journal is: the database sorts on disk, in bounded memory.
 * Gives the number of periods.
 */
export async function verifyPeriods(tx: EntityManager, findings: FindingSink<PeriodClass>): Promise<number> {
  const db = tx.getKysely();
  const { rows: counts } = await sql<{ periods: string }>`
    select count(*) as periods from journal_fact where period_start is not null
  `.execute(db);
  const { rows } = await sql<PeriodRow>`
    select subscription_id, kind, period_start as starts, period_end as ends, covered_until,
      period_start > covered_until as is_hole
    from (
      select subscription_id, kind, period_start, period_end,
        max(period_end) over before as covered_until,
        max(period_end) filter (where kind <> 'FORGIVEN') over before as sold_until
      from journal_fact where period_start is not null
      window before as (partition by subscription_id order by period_start, period_end, lane, sequence, position
        rows between unbounded preceding and 1 preceding)
    ) tile
    where period_start > covered_until
      or period_start < case when kind = 'FORGIVEN' then sold_until else covered_until end
    limit ${findingsMax + 1}
  `.execute(db);
  for (const row of rows) {
    const [start, end, until] = [row.starts, row.ends, row.covered_until].map((text) =>
      instantFromRow(text).toString(),
    );
    const of = `subscription ${row.subscription_id}`;
    if (row.is_hole) findings.add('hole', `${of}: nothing accounts for ${until} to ${start}`);
    else findings.add('overlap', `${of}: ${row.kind.toLowerCase()} ${start} to ${end}, but covered until ${until}`);
  }
  return Number(counts[0]!.periods);
}
