import { sql } from 'kysely';
import { instantFromRow, optionalInstantFromRow } from '../db/instant-type.ts';
import type { EntityManager } from '../db/orm.ts';
import type { Money } from '../lib/money.ts';
import type { IntervalUnit, RefundPolicy } from './plan.ts';

export interface PriceView {
  readonly id: string;
  readonly amount: Money;
  readonly intervalUnit: IntervalUnit;
  readonly intervalCount: number;
  /** Subscriptions at this price that have not ended. */
  readonly openSubscriptions: number;
}

/** A plan as operators see it, with who has it. */
export interface PlanView {
  readonly id: string;
  readonly code: string;
  readonly name: string;
  readonly description: string;
  readonly features: readonly string[];
  readonly productLine: string;
  readonly trialDays: number;
  readonly refundPolicy: RefundPolicy;
  readonly revision: number;
  readonly archivedAt: Temporal.Instant | null;
  readonly createdAt: Temporal.Instant;
  /** Cheapest first. */
  readonly prices: readonly PriceView[];
  readonly openSubscriptions: number;
  /** Ever. */
  readonly subscriptions: number;
  /** Subscribers whom a change of features has not reached yet. */
  readonly featuresPending: number;
}

interface PlanRow {
  id: string;
  code: string;
  name: string;
  description: string;
  features: string[];
  product_line: string;
  trial_days: number;
  refund_policy: RefundPolicy;
  revision: number;
  archived_at: string | null;
  created_at: string;
  open_subscriptions: number;
  subscriptions: number;
  features_pending: number;
}

interface PriceRow {
  id: string;
  plan_id: string;
  amount_minor: string;
  currency_code: string;
  interval_unit: IntervalUnit;
  interval_count: number;
  open_subscriptions: number;
}

/** Reads plans in the order of the ids; a missing one is left out. */
export async function readPlanViews(em: EntityManager, ids: readonly string[]): Promise<PlanView[]> {
  const db = em.getKysely();
  const { rows: plans } = await sql<PlanRow>`
    select plan.id, code, name, description, features, product_line, trial_days, refund_policy, revision, archived_at,
      created_at, used.open as open_subscriptions, used.ever as subscriptions,
      case when r.plan_id is null or r.pass_started_at >= r.last_pass_from then 0 else (select count(*)::int from subscription s where s.plan_id = plan.id
        and s.ended_at is null and (r.after_subscription_id is null or s.id > r.after_subscription_id))
      end as features_pending
    from plan left join feature_rollout r on r.plan_id = plan.id,
      lateral (select count(*)::int as ever, count(*) filter (where ended_at is null)::int as open
        from subscription s where s.plan_id = plan.id) used
    where plan.id = any(${ids}::uuid[])
  `.execute(db);
  const { rows: prices } = await sql<PriceRow>`
    select price.id, plan_id, amount_minor, currency_code, interval_unit, interval_count,
      (select count(*)::int from subscription s
        where s.plan_id = price.plan_id and s.price_id = price.id and s.ended_at is null) as open_subscriptions
    from price where plan_id = any(${ids}::uuid[]) order by amount_minor, currency_code, id
  `.execute(db);
  const byId = new Map(plans.map((plan) => [plan.id, plan]));
  return ids.flatMap((id) => {
    const plan = byId.get(id);
    if (!plan) return [];
    return [
      viewOf(
        plan,
        prices.filter(({ plan_id }) => plan_id === id),
      ),
    ];
  });
}

function viewOf(plan: PlanRow, prices: readonly PriceRow[]): PlanView {
  return {
    id: plan.id,
    code: plan.code,
    name: plan.name,
    description: plan.description,
    features: plan.features,
    productLine: plan.product_line,
    trialDays: plan.trial_days,
    refundPolicy: plan.refund_policy,
    revision: plan.revision,
    archivedAt: optionalInstantFromRow(plan.archived_at),
    createdAt: instantFromRow(plan.created_at),
    openSubscriptions: plan.open_subscriptions,
    subscriptions: plan.subscriptions,
    featuresPending: plan.features_pending,
    prices: prices.map((price) => ({
      id: price.id,
      amount: { currencyCode: price.currency_code, amountMinor: BigInt(price.amount_minor) },
      intervalUnit: price.interval_unit,
      intervalCount: price.interval_count,
      openSubscriptions: price.open_subscriptions,
    })),
  };
}

/** What the audit log keeps of a plan: what an operator can change. */
export function auditedPlan(plan: PlanView): object {
  const { code, name, description, features, productLine, trialDays, refundPolicy, archivedAt, prices } = plan;
  const priceList = prices.map(({ id, amount, intervalUnit, intervalCount }) => ({
    id,
    amount,
    intervalUnit,
    intervalCount,
  }));
  return { code, name, description, features, productLine, trialDays, refundPolicy, archivedAt, prices: priceList };
}
