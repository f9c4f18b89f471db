import { sql } from 'kysely';
import type { CallContext } from '../identity/call-context.ts';
import { createFindings, type Findings } from './findings.ts';
import { inReadTransaction } from './read-transaction.ts';
import { verifyBooks, type BooksClass } from './verify-books.ts';
import { verifyChain, type ChainClass, type LaneHead } from './verify-chain.ts';
import { verifyPeriods, type PeriodClass } from './verify-periods.ts';

export type LedgerClass = ChainClass | BooksClass | PeriodClass;

export interface LedgerReport extends Pick<Findings<LedgerClass>, 'list' | 'counts'> {
  /** How many of each were looked at; a run without a single fact has proven nothing. */
  readonly examined: Readonly<Record<'batches' | 'facts' | 'periods' | 'charges' | 'refunds', number>>;
  /** The last batch of each lane, for whoever keeps them outside the database. */
  readonly heads: readonly LaneHead[];
  /** Something was examined, and all of it agrees. */
  readonly holds: boolean;
}

/**
 * Proves that the journal is what was written: the chain is intact, it and the books tell the same, and the periods of
 * each subscription tile (README.md, "Proofs"). Reads everything, in bounded memory, beside the running service.
 * `knownHeads` are the heads of an earlier run; `onProgress` hears of the facts that are done, and of how many there
 * were at the start.
 */
export async function verifyLedger(
  ctx: Pick<CallContext, 'em'>,
  {
    knownHeads = [],
    onProgress = () => undefined,
  }: { knownHeads?: readonly LaneHead[]; onProgress?: (factsDone: number, factsTotal: number) => void } = {},
): Promise<LedgerReport> {
  const findings = createFindings<LedgerClass>();
  // Two connections: the database sorts and joins while this process hashes.
  const [chain, [periods, books]] = await Promise.all([
    inReadTransaction(ctx.em, async (tx) => {
      const { rows } = await sql<{ facts: string }>`
        select coalesce(sum(fact_count), 0) as facts from journal_batch
      `.execute(tx.getKysely());
      const factsTotal = Number(rows[0]!.facts);
      return verifyChain(tx, findings, { knownHeads, onFacts: (done) => onProgress(done, factsTotal) });
    }),
    inReadTransaction(
      ctx.em,
      async (tx) => [await verifyPeriods(tx, findings), await verifyBooks(tx, findings)] as const,
    ),
  ]);
  const { batches, facts, heads } = chain;
  return {
    list: findings.list,
    counts: findings.counts,
    examined: { batches, facts, periods, ...books },
    heads,
    holds: facts > 0 && findings.counts.size === 0,
  };
}
