import { sql } from 'kysely';
import { businessNow } from '../db/clock.ts';
import { instantFromRow } from '../db/instant-type.ts';
import { inTransaction } from '../db/orm.ts';
import { attemptLeaseMs } from './attempt-rows.ts';
import type { PaymentsContext, ProviderKey } from './providers.ts';

/** Between two looks at what was opened at a merchant account. */
const lookEveryHours = 24;
/** Until a look that failed is tried again. */
const retryHours = 1;
/**
 * How late a dispute may show up and still be found: what is listed goes back so far from the last complete look. An
 * inquiry that becomes a dispute, up to four months later, keeps the instant at which it was opened.
 */
const lateDaysMax = 120;

/** A look that is ours to make: at everything opened at the account in `[from, to)`. */
export interface DisputeLook extends ProviderKey {
  readonly from: Temporal.Instant;
  readonly to: Temporal.Instant;
}

/**
 * The looks that are due, each leased to whoever gets it. An account that is new has one at once: its notices may have
 * been lost before anybody looked.
 */
export async function claimDisputeLooks(ctx: PaymentsContext): Promise<DisputeLook[]> {
  const reporting = [...ctx.providers.values()].filter(({ capabilities }) => capabilities.reportsDisputes);
  return inTransaction(ctx.em, async (tx) => {
    const now = await businessNow(tx);
    await sql`
      insert into dispute_look (provider, merchant_account, looked_until, next_look_at)
      select provider, account, ${now.toString()}, ${now.toString()}
      from unnest(${reporting.map(({ name }) => name)}::text[],
        ${reporting.map(({ merchantAccount }) => merchantAccount)}::text[]) as configured(provider, account)
      on conflict do nothing
    `.execute(tx.getKysely());
    const { rows } = await sql<{ provider: string; merchant_account: string; looked_until: string }>`
      with due as (
        select provider, merchant_account from dispute_look
        where next_look_at <= ${now.toString()} and (lease_until is null or lease_until <= clock_timestamp())
        for update skip locked)
      update dispute_look l set lease_until = clock_timestamp() + make_interval(secs => ${attemptLeaseMs / 1000})
      from due where l.provider = due.provider and l.merchant_account = due.merchant_account
      returning l.provider, l.merchant_account, l.looked_until::text
    `.execute(tx.getKysely());
    return rows.map((row) => ({
      provider: row.provider,
      merchantAccount: row.merchant_account,
      from: instantFromRow(row.looked_until).subtract({ hours: lateDaysMax * 24 }),
      to: now,
    }));
  });
}

/** A look takes as long as it has pages; each has a lease of its own. */
export async function keepDisputeLook(ctx: PaymentsContext, look: DisputeLook): Promise<void> {
  await inTransaction(ctx.em, async (tx) => {
    await sql`
      update dispute_look set lease_until = clock_timestamp() + make_interval(secs => ${attemptLeaseMs / 1000})
      where provider = ${look.provider} and merchant_account = ${look.merchantAccount}
    `.execute(tx.getKysely());
  });
}

/** Ends a look: the place moves on only when everything was seen. */
export async function endDisputeLook(ctx: PaymentsContext, look: DisputeLook, isComplete: boolean): Promise<void> {
  const nextLookAt = look.to.add({ hours: isComplete ? lookEveryHours : retryHours });
  await inTransaction(ctx.em, async (tx) => {
    await sql`
      update dispute_look set lease_until = null, next_look_at = ${nextLookAt.toString()},
        looked_until = case when ${isComplete} then greatest(looked_until, ${look.to.toString()}) else looked_until end
      where provider = ${look.provider} and merchant_account = ${look.merchantAccount}
    `.execute(tx.getKysely());
  });
}

/** Writes down that a dispute is about no attempt of ours; false when that was known already. */
export async function noteForeignDispute(
  ctx: PaymentsContext,
  { provider, merchantAccount }: ProviderKey,
  providerDisputeId: string,
): Promise<boolean> {
  return inTransaction(ctx.em, async (tx) => {
    const now = await businessNow(tx);
    const { numAffectedRows } = await sql`
      insert into foreign_dispute (provider, merchant_account, provider_dispute_id, found_at)
      values (${provider}, ${merchantAccount}, ${providerDisputeId}, ${now.toString()}) on conflict do nothing
    `.execute(tx.getKysely());
    return numAffectedRows === 1n;
  });
}
