import { sql } from 'kysely';
import type { IntervalUnit } from '../catalog/plan.ts';
import type { EntityManager } from '../db/orm.ts';
import type { TargetPrice } from './plan-change-quote.ts';

interface Row {
  price_id: string;
  plan_code: string;
  plan_name: string;
  features: string[];
  amount_minor: string;
  currency_code: string;
  interval_unit: IntervalUnit;
  interval_count: number;
}

/** Prices with what their plans give now, on sale or not, by id. */
export async function findTargetPrices(
  tx: EntityManager,
  priceIds: readonly string[],
): Promise<Map<string, TargetPrice>> {
  if (priceIds.length === 0) return new Map();
  const { rows } = await sql<Row>`
    select price.id as price_id, plan.code as plan_code, plan.name as plan_name, plan.features, price.amount_minor, price.currency_code,
      price.interval_unit, price.interval_count
    from price join plan on plan.id = price.plan_id where price.id = any(${priceIds}::uuid[])
  `.execute(tx.getKysely());
  return new Map(
    rows.map((row) => [
      row.price_id,
      {
        priceId: row.price_id,
        planCode: row.plan_code,
        planName: row.plan_name,
        features: row.features,
        amount: { currencyCode: row.currency_code, amountMinor: BigInt(row.amount_minor) },
        intervalUnit: row.interval_unit,
        intervalCount: row.interval_count,
      },
    ]),
  );
}

/** What a payment for another plan was made for. */
export async function findTargetOfChange(tx: EntityManager, paymentId: string): Promise<TargetPrice> {
  const { rows } = await sql<{ price_id: string }>`
    select price_id from payment where id = ${paymentId}
  `.execute(tx.getKysely());
  const { price_id: priceId } = rows[0]!;
  return (await findTargetPrices(tx, [priceId])).get(priceId)!;
}
