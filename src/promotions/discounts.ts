import { sql } from 'kysely';
import type { EntityManager } from '../db/orm.ts';
import { rowTable } from '../db/row-table.ts';
import { newId } from '../lib/ids.ts';
import type { Money } from '../lib/money.ts';
import { discountOf, termsOf, type DiscountTerms } from './promo-code.ts';

/** What is taken off one payment, and by what. */
export interface Discount {
  readonly promoCodeId: string;
  readonly code: string;
  /** More than nothing. */
  readonly discountMinor: bigint;
}

/** A subscription whose next cycle is to be charged, or might be. */
export interface Discountable {
  readonly id: string;
  readonly planCode: string;
  readonly amount: Money;
  readonly paymentMethodId: string | null;
}

/** The least that a provider charges in a currency; minor units. */
export type MinimumOf = (provider: string | undefined, currencyCode: string) => bigint;

interface Row {
  subscription_id: string;
  promo_code_id: string;
  code: string;
  percent_off: number | null;
  amount_off_minor: string | null;
  currency_code: string | null;
  provider: string | null;
}

/**
 * What is taken off the next cycle of each of these subscriptions, by id: as long as fewer cycles were charged with the
 * code than it is for (what was never paid does not count), and only for the plan that it is for. Those without a
 * discount are missing.
 */
export async function findDiscounts(
  tx: EntityManager,
  subscriptions: readonly Discountable[],
  minimumOf: MinimumOf,
): Promise<Map<string, Discount>> {
  const { rows } = await sql<Row>`
    select s.id as subscription_id, c.id as promo_code_id, c.code, c.percent_off, c.amount_off_minor, c.currency_code,
      m.provider
    from ${rowTable('s', subscriptions, {
      id: ['uuid', ({ id }) => id],
      plan_code: ['text', ({ planCode }) => planCode],
      payment_method_id: ['uuid', ({ paymentMethodId }) => paymentMethodId],
    })} join promo_redemption r on r.subscription_id = s.id
      join promo_code c on c.id = r.promo_code_id
      left join plan on plan.id = c.plan_id
      left join payment_method m on m.id = s.payment_method_id
    where (c.plan_id is null or plan.code = s.plan_code) and c.cycles > (
      select count(*) from payment p join payment_adjustment a on a.payment_id = p.id
      where p.subscription_id = s.id and p.status <> 'VOID' and a.promo_code_id = c.id)
  `.execute(tx.getKysely());
  if (rows.length === 0) return new Map();
  const amounts = new Map(subscriptions.map(({ id, amount }) => [id, amount]));
  return new Map(
    rows.flatMap((row): [string, Discount][] => {
      const { currencyCode, amountMinor } = amounts.get(row.subscription_id)!;
      const terms: DiscountTerms = termsOf(row);
      const discountMinor = discountOf(terms, amountMinor, minimumOf(row.provider ?? undefined, currencyCode));
      if (discountMinor === 0n) return [];
      return [[row.subscription_id, { promoCodeId: row.promo_code_id, code: row.code, discountMinor }]];
    }),
  );
}

/** Writes the lines of payments that are written in the same transaction. */
export async function insertAdjustments(
  tx: EntityManager,
  lines: readonly (Discount & { readonly paymentId: string })[],
  now: Temporal.Instant,
): Promise<void> {
  if (lines.length === 0) return;
  await sql`
    insert into payment_adjustment (id, payment_id, promo_code_id, amount_minor, description, created_at)
    select *, ${now.toString()}::timestamptz
    from ${rowTable('line', lines, {
      id: ['uuid', () => newId()],
      payment_id: ['uuid', ({ paymentId }) => paymentId],
      promo_code_id: ['uuid', ({ promoCodeId }) => promoCodeId],
      amount_minor: ['bigint', ({ discountMinor }) => -discountMinor],
      description: ['text', ({ code }) => code],
    })}
  `.execute(tx.getKysely());
}

/** A line that makes a payment another amount than its price. */
export interface Adjustment {
  readonly paymentId: string;
  /** Below zero for what was taken off; minor units of the payment's currency. */
  readonly amountMinor: bigint;
  /** The promo code. */
  readonly description: string;
}

/** The lines of these payments. */
export async function readAdjustments(em: EntityManager, paymentIds: readonly string[]): Promise<Adjustment[]> {
  const { rows } = await sql<{ payment_id: string; amount_minor: string; description: string }>`
    select payment_id, amount_minor, description from payment_adjustment
    where payment_id = any(${paymentIds}::uuid[]) order by id
  `.execute(em.getKysely());
  return rows.map((row) => ({
    paymentId: row.payment_id,
    amountMinor: BigInt(row.amount_minor),
    description: row.description,
  }));
}
