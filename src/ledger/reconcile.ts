import { setTimeout as pause } from 'node:timers/promises';
import { sql, type QueryExecutorProvider } from 'kysely';
import type { CallContext } from '../identity/call-context.ts';
import { formatMoney } from '../lib/money.ts';
import { comparePayment, type DifferenceClass } from './compare-payment.ts';
import { createFindings, findingsMax, type Findings } from './findings.ts';
import { readOurSide } from './our-side.ts';
import { askAgain, forEachPage, type ProviderBooks, type ProviderPayment } from './provider-books.ts';

export interface ReconcileInput {
  readonly provider: ProviderBooks;
  /** Payments begun at the provider in `[from, to)`. */
  readonly from: Temporal.Instant;
  readonly to: Temporal.Instant;
}

export interface ReconcileReport extends Pick<Findings<DifferenceClass>, 'list' | 'counts'> {
  readonly examined: {
    /** All that the provider has in the window, paid or not. */
    readonly payments: number;
    /** Those that it took money with. */
    readonly succeeded: number;
    /** Ours, in the journal. */
    readonly charges: number;
    /** Could not be compared, because a call or a refund is under way at this moment. */
    readonly underWay: number;
  };
  /** Money was examined, and all of it agrees. */
  readonly holds: boolean;
}

/** A difference counts when it is still there at a second look: the two sides cannot be read at the same instant. */
const secondLookMs = 2_000;
/** Ours are chosen by when the attempt was written down; the provider's payment may have come that much later. */
const laterMaxHours = 48;
/** Or, by its clock, that much earlier. */
const earlierMaxHours = 1;
const statementTimeoutMs = 15 * 60_000;

/**
 * Compares the journal with the provider's own books, in both directions, in bounded memory; no transaction is open
 * while the provider is asked. `onProgress` hears how many of its payments were listed, and of the last one's instant.
 */
export async function reconcile(
  ctx: Pick<CallContext, 'em'>,
  input: ReconcileInput,
  onProgress: (listed: number, upTo: Temporal.Instant) => void = () => undefined,
): Promise<ReconcileReport> {
  const { from, to } = input;
  if (Temporal.Instant.compare(from, to) >= 0) throw new RangeError('the window is empty: from is not before to');
  // One connection from beginning to end: the temporary table is its own.
  return ctx.em
    .fork()
    .getKysely()
    .connection()
    .execute(async (db) => {
      await sql.raw(`set statement_timeout = ${statementTimeoutMs}`).execute(db);
      await sql`create temporary table seen_payment (provider_payment_id text primary key)`.execute(db);
      try {
        return await compareBothWays(db, input, onProgress);
      } finally {
        await sql`drop table seen_payment`.execute(db);
        await sql`reset statement_timeout`.execute(db);
      }
    });
}

async function compareBothWays(
  db: QueryExecutorProvider,
  input: ReconcileInput,
  onProgress: (listed: number, upTo: Temporal.Instant) => void,
): Promise<ReconcileReport> {
  const findings = createFindings<DifferenceClass>();
  const theirs = await compareTheirs(db, input, findings, onProgress);
  const underWay = await lookAgain(db, input, theirs.suspects, findings);
  const charges = await compareOurs(db, input, findings);
  const { payments, succeeded } = theirs;
  return {
    list: findings.list,
    counts: findings.counts,
    examined: { payments, succeeded, charges, underWay },
    holds: succeeded + charges > 0 && findings.counts.size === 0,
  };
}

/** Every payment of the provider's: the pages of its list, each beside what we have on it. */
async function compareTheirs(
  db: QueryExecutorProvider,
  { provider, from, to }: ReconcileInput,
  findings: Findings<DifferenceClass>,
  onProgress: (listed: number, upTo: Temporal.Instant) => void,
): Promise<{ payments: number; succeeded: number; suspects: ProviderPayment[] }> {
  const result = { payments: 0, succeeded: 0, suspects: [] as ProviderPayment[] };
  const span = { from: from.subtract({ hours: earlierMaxHours }), to: to.add({ hours: laterMaxHours }) };
  await forEachPage(provider, span, async (page) => {
    const paid = page.filter(({ status, amount }) => status === 'succeeded' && amount.amountMinor > 0n);
    await noteSeen(db, paid);
    const inWindow = ({ createdAt }: ProviderPayment) =>
      Temporal.Instant.compare(from, createdAt) <= 0 && Temporal.Instant.compare(createdAt, to) < 0;
    const listed = paid.filter(inWindow);
    const ours = await readOurSide(db, provider, listed);
    for (const [index, payment] of listed.entries()) {
      const differences = comparePayment(payment, ours[index]!);
      if (differences.length === 0) continue;
      if (result.suspects.length < findingsMax) result.suspects.push(payment);
      else if (differences !== 'under way') for (const found of differences) findings.add(found.class, found.what);
    }
    result.payments += page.filter(inWindow).length;
    result.succeeded += listed.length;
    const last = page.at(-1);
    if (last) onProgress(result.payments, last.createdAt);
  });
  return result;
}

async function noteSeen(db: QueryExecutorProvider, payments: readonly ProviderPayment[]): Promise<void> {
  await sql`
    insert into seen_payment select unnest(${payments.map(({ providerPaymentId }) => providerPaymentId)}::text[])
    on conflict do nothing
  `.execute(db);
}

/** Reads both sides of what differed anew; gives how many are still under way. */
async function lookAgain(
  db: QueryExecutorProvider,
  { provider }: ReconcileInput,
  suspects: readonly ProviderPayment[],
  findings: Findings<DifferenceClass>,
): Promise<number> {
  if (suspects.length === 0) return 0;
  await pause(secondLookMs);
  let underWay = 0;
  const ids = new Set(suspects.map(({ providerPaymentId }) => providerPaymentId));
  const instants = new Map(suspects.map(({ createdAt }) => [createdAt.epochMilliseconds, createdAt]));
  for (const at of instants.values()) {
    const from = Temporal.Instant.fromEpochMilliseconds(at.epochMilliseconds);
    await forEachPage(provider, { from, to: from.add({ milliseconds: 1 }) }, async (page) => {
      const again = page.filter(({ providerPaymentId }) => ids.has(providerPaymentId));
      const ours = await readOurSide(db, provider, again);
      for (const [index, payment] of again.entries()) {
        const differences = comparePayment(payment, ours[index]!);
        if (differences === 'under way') underWay += 1;
        else for (const found of differences) findings.add(found.class, found.what);
      }
    });
  }
  return underWay;
}

interface ChargeRow {
  attempt_id: string;
  attached: boolean | null;
  provider_payment_id: string;
  amount_minor: string;
  currency_code: string;
}

/**
 * Every charge of ours that the provider's list does not have is looked up by itself before it counts as missing: the
 * list has edges. Gives how many charges of ours there are. A fact is never older than its attempt.
 */
async function compareOurs(
  db: QueryExecutorProvider,
  { provider, from, to }: ReconcileInput,
  findings: Findings<DifferenceClass>,
): Promise<number> {
  const ours = sql`
    from journal_fact f left join payment_attempt a on a.id = f.attempt_id
    where f.kind = 'CHARGED' and f.provider = ${provider.name} and f.merchant_account = ${provider.merchantAccount}
      and f.occurred_at >= ${from.toString()} and coalesce(a.created_at, f.occurred_at) >= ${from.toString()}
      and coalesce(a.created_at, f.occurred_at) < ${to.toString()}
  `;
  const { rows: counts } = await sql<{ charges: string }>`select count(*) as charges ${ours}`.execute(db);
  const { rows } = await sql<ChargeRow>`
    select distinct f.attempt_id, a.kind = 'attached' as attached, f.provider_payment_id, f.amount_minor,
      f.currency_code ${ours}
      and not exists (select from seen_payment s where s.provider_payment_id = f.provider_payment_id)
    order by f.attempt_id limit ${findingsMax}
  `.execute(db);
  for (const row of rows) {
    const { attempt_id: reference, provider_payment_id: providerPaymentId } = row;
    // Money that came without a call of ours is there under another reference, or under none.
    const query = row.attached ? { providerPaymentId } : { providerPaymentId, reference };
    const amount = { currencyCode: row.currency_code, amountMinor: BigInt(row.amount_minor) };
    const found = await askAgain(() => provider.lookUp(query));
    const of = `charge of attempt ${reference}, ${formatMoney(amount)}`;
    if (found?.kind !== 'succeeded' || !found.amount) {
      const says = found ? `says ${found.kind}` : 'does not have it';
      findings.add('missing', `${of}: the provider ${says} (payment ${providerPaymentId})`);
    } else if (found.amount.amountMinor !== amount.amountMinor || found.amount.currencyCode !== amount.currencyCode) {
      findings.add('amount', `${of}: the provider took ${formatMoney(found.amount)}`);
    }
  }
  return Number(counts[0]!.charges);
}
