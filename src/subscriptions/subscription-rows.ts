import { sql, type RawBuilder } from 'kysely';
import type { IntervalUnit } from '../catalog/plan.ts';
import { instantFromRow, optionalInstantFromRow } from '../db/instant-type.ts';
import type { EntityManager } from '../db/orm.ts';
import { rowTable } from '../db/row-table.ts';
import { changeEntitlements } from '../entitlements/change-entitlements.ts';
import type { CallContext } from '../identity/call-context.ts';
import { appendFacts } from '../ledger/append-facts.ts';
import { newId } from '../lib/ids.ts';
import { spanFacts } from './journal-facts.ts';
import { grantOf } from './lease.ts';
import type { SubscriptionChange } from './lifecycle.ts';
import type { SubscriptionStatus } from './state-table.ts';
import type { SubscriptionState } from './subscription.ts';

/** What every use case needs that changes subscriptions. */
export interface SubscriptionsContext extends CallContext {
  /** How far a lease reaches past the period that it will renew. */
  readonly leaseMarginHours: number;
  /** The IANA zone of new subscriptions' civil dates. */
  readonly billingTimeZone: string;
}

/** What a statement with `subscriptionColumns` gives for a subscription. */
export interface SubscriptionRow {
  id: string;
  user_id: string;
  plan_code: string;
  features: string[];
  product_line: string;
  price_id: string;
  amount_minor: string;
  currency_code: string;
  interval_unit: IntervalUnit;
  interval_count: number;
  billing_time_zone: string;
  status: SubscriptionStatus;
  anchor_at: string | null;
  anchor_cycle: number;
  cycle: number;
  current_period_start: string | null;
  current_period_end: string | null;
  payment_method_id: string | null;
  open_payment_id: string | null;
  cancel_at_period_end: boolean;
  renewal_blocked: boolean;
  scheduled_price_id: string | null;
  announced_price_id: string | null;
  announced_price_from: string | null;
  complimentary: boolean;
  grace_until: string | null;
  dunning_ends_at: string | null;
  next_charge_at: string | null;
  next_transition_at: string | null;
  canceled_at: string | null;
  ended_at: string | null;
  created_at: string;
}

/** The columns of `SubscriptionRow`, of tables or aliases named `s`, `plan` and `price`. */
export const subscriptionColumns: RawBuilder<unknown> = sql`
  s.id, s.user_id, plan.code as plan_code, plan.features, s.product_line, s.price_id,
  price.amount_minor, price.currency_code, price.interval_unit, price.interval_count,
  s.billing_time_zone, s.status, s.anchor_at, s.anchor_cycle, s.cycle, s.current_period_start,
  s.current_period_end, s.payment_method_id, s.open_payment_id, s.cancel_at_period_end, s.renewal_blocked,
  s.scheduled_price_id, s.announced_price_id, s.announced_price_from, s.complimentary, s.grace_until,
  s.dunning_ends_at, s.next_charge_at, s.next_transition_at, s.canceled_at, s.ended_at, s.created_at
`;

/**
 * Locks subscriptions in id order and reads what the rules look at. Everything that decides about a subscription reads
 * it here, under the lock. Plain SQL: a settle reads hundreds at once, and the ORM's unit of work costs 25 times as much.
 */
export async function lockSubscriptions(
  tx: EntityManager,
  ids: readonly string[],
): Promise<Map<string, SubscriptionState>> {
  return lockSelected(tx, sql`select * from subscription where id = any(${ids}::uuid[]) order by id for update`);
}

/** As `lockSubscriptions`: those that these attempts are about, which is fixed when an attempt is written. */
export async function lockSubscriptionsOfAttempts(
  tx: EntityManager,
  attemptIds: readonly string[],
): Promise<Map<string, SubscriptionState>> {
  return lockSelected(
    tx,
    sql`select * from subscription
      where id in (select subscription_id from payment_attempt where id = any(${attemptIds}::uuid[]))
      order by id for update`,
  );
}

/**
 * Locks what is due and not late, the longest due first, past what others have locked: at most `countMax`, and nothing
 * whose dunning was over at `dunningPast`.
 */
export async function lockDueSubscriptions(
  tx: EntityManager,
  due: { now: Temporal.Instant; lateUntil: Temporal.Instant; dunningPast: Temporal.Instant; countMax: number },
): Promise<SubscriptionState[]> {
  const { now, lateUntil, dunningPast, countMax } = due;
  // The limit is written out: a plan for any limit might sort all that is due.
  const states = await lockSelected(
    tx,
    sql`select * from subscription
      where next_charge_at > ${lateUntil.toString()} and next_charge_at <= ${now.toString()}
        and open_payment_id is null and payment_method_id is not null
        and (dunning_ends_at is null or dunning_ends_at > ${dunningPast.toString()})
      order by next_charge_at, id limit ${sql.lit(countMax)} for update skip locked`,
  );
  return [...states.values()];
}

/** Locks what is late, as `lockDueSubscriptions` what is due. */
export async function lockLateSubscriptions(
  tx: EntityManager,
  { lateUntil, countMax }: { lateUntil: Temporal.Instant; countMax: number },
): Promise<SubscriptionState[]> {
  const states = await lockSelected(
    tx,
    sql`select * from subscription
      where next_charge_at <= ${lateUntil.toString()} and open_payment_id is null and payment_method_id is not null
      order by next_charge_at, id limit ${sql.lit(countMax)} for update skip locked`,
  );
  return [...states.values()];
}

/** What a `select * from subscription` finds and locks, with its plan and price. */
async function lockSelected(tx: EntityManager, locked: RawBuilder<unknown>): Promise<Map<string, SubscriptionState>> {
  // Locked before it is joined: a row that had to be waited for is read anew, but not the price that it was joined with,
  // and one whose price has changed meanwhile would be missing.
  const { rows } = await sql<SubscriptionRow>`
    with s as materialized (${locked})
    select ${subscriptionColumns}
    from s join plan on plan.id = s.plan_id join price on price.id = s.price_id
  `.execute(tx.getKysely());
  return new Map(rows.map((row) => [row.id, stateFromRow(row)]));
}

/** The state that the row has. */
export function stateFromRow(row: SubscriptionRow): SubscriptionState {
  return {
    id: row.id,
    userId: row.user_id,
    planCode: row.plan_code,
    features: row.features,
    productLine: row.product_line,
    priceId: row.price_id,
    amount: { currencyCode: row.currency_code, amountMinor: BigInt(row.amount_minor) },
    intervalUnit: row.interval_unit,
    intervalCount: row.interval_count,
    billingTimeZone: row.billing_time_zone,
    status: row.status,
    anchorAt: optionalInstantFromRow(row.anchor_at),
    anchorCycle: row.anchor_cycle,
    cycle: row.cycle,
    currentPeriodStart: optionalInstantFromRow(row.current_period_start),
    currentPeriodEnd: optionalInstantFromRow(row.current_period_end),
    paymentMethodId: row.payment_method_id,
    openPaymentId: row.open_payment_id,
    cancelAtPeriodEnd: row.cancel_at_period_end,
    renewalBlocked: row.renewal_blocked,
    scheduledPriceId: row.scheduled_price_id,
    announcedPriceId: row.announced_price_id,
    announcedPriceFrom: optionalInstantFromRow(row.announced_price_from),
    complimentary: row.complimentary,
    graceUntil: optionalInstantFromRow(row.grace_until),
    dunningEndsAt: optionalInstantFromRow(row.dunning_ends_at),
    nextChargeAt: optionalInstantFromRow(row.next_charge_at),
    nextTransitionAt: optionalInstantFromRow(row.next_transition_at),
    canceledAt: optionalInstantFromRow(row.canceled_at),
    endedAt: optionalInstantFromRow(row.ended_at),
    createdAt: instantFromRow(row.created_at),
  };
}

/**
 * Writes what the rules decided: the rows, their history, the entitlements with their messages to Auth, and the spans
 * that nobody pays for, all in the caller's transaction. A subscription may appear several times; the last state is stored, every line of history is.
 */
export async function storeChanges(
  ctx: SubscriptionsContext,
  tx: EntityManager,
  changes: readonly SubscriptionChange[],
  now: Temporal.Instant,
): Promise<void> {
  if (changes.length === 0) return;
  await storeStates(tx, [...new Map(changes.map((change) => [change.after.id, change.after])).values()]);
  await storePrices(tx, changes);
  await storeHistory(ctx, tx, changes, now);
  const entitlementChanges = changes.flatMap(({ after, entitlement }) =>
    entitlement
      ? [
          {
            userId: after.userId,
            productLine: after.productLine,
            grant: grantOf(after, ctx.leaseMarginHours),
            ...entitlement,
          },
        ]
      : [],
  );
  await changeEntitlements(tx, entitlementChanges, now, ctx.traceparent);
  await appendFacts(tx, spanFacts(changes), now);
}

async function storeStates(tx: EntityManager, states: readonly SubscriptionState[]): Promise<void> {
  await sql`
    update subscription s set status = c.status, anchor_at = c.anchor_at, anchor_cycle = c.anchor_cycle, cycle = c.cycle,
      current_period_start = c.current_period_start, current_period_end = c.current_period_end,
      payment_method_id = c.payment_method_id, open_payment_id = c.open_payment_id,
      cancel_at_period_end = c.cancel_at_period_end, renewal_blocked = c.renewal_blocked,
      grace_until = c.grace_until, dunning_ends_at = c.dunning_ends_at,
      next_charge_at = c.next_charge_at, next_transition_at = c.next_transition_at,
      canceled_at = c.canceled_at, ended_at = c.ended_at
    from ${rowTable('c', states, {
      id: ['uuid', (state) => state.id],
      status: ['text', (state) => state.status],
      anchor_at: ['instant', (state) => state.anchorAt],
      anchor_cycle: ['integer', (state) => state.anchorCycle],
      cycle: ['integer', (state) => state.cycle],
      current_period_start: ['instant', (state) => state.currentPeriodStart],
      current_period_end: ['instant', (state) => state.currentPeriodEnd],
      payment_method_id: ['uuid', (state) => state.paymentMethodId],
      open_payment_id: ['uuid', (state) => state.openPaymentId],
      cancel_at_period_end: ['boolean', (state) => state.cancelAtPeriodEnd],
      renewal_blocked: ['boolean', (state) => state.renewalBlocked],
      grace_until: ['instant', (state) => state.graceUntil],
      dunning_ends_at: ['instant', (state) => state.dunningEndsAt],
      next_charge_at: ['instant', (state) => state.nextChargeAt],
      next_transition_at: ['instant', (state) => state.nextTransitionAt],
      canceled_at: ['instant', (state) => state.canceledAt],
      ended_at: ['instant', (state) => state.endedAt],
    })}
    where s.id = c.id
  `.execute(tx.getKysely());
}

/** Which price applies, and which one will: apart from the rest, because hardly any change touches them. */
async function storePrices(tx: EntityManager, changes: readonly SubscriptionChange[]): Promise<void> {
  const changed = changes.filter(
    ({ before, after }) =>
      before.priceId !== after.priceId ||
      before.scheduledPriceId !== after.scheduledPriceId ||
      before.announcedPriceFrom !== after.announcedPriceFrom,
  );
  if (changed.length === 0) return;
  const states = [...new Map(changed.map(({ after }) => [after.id, after])).values()];
  await sql`
    update subscription s set plan_id = price.plan_id, price_id = price.id, scheduled_price_id = c.scheduled_price_id,
      announced_price_id = c.announced_price_id, announced_price_from = c.announced_price_from
    from unnest(
      ${states.map((state) => state.id)}::uuid[],
      ${states.map((state) => state.priceId)}::uuid[],
      ${states.map((state) => state.scheduledPriceId)}::uuid[],
      ${states.map((state) => state.announcedPriceId)}::uuid[],
      ${states.map((state) => state.announcedPriceFrom?.toString() ?? null)}::timestamptz[]
    ) as c(id, price_id, scheduled_price_id, announced_price_id, announced_price_from) join price on price.id = c.price_id
    where s.id = c.id
  `.execute(tx.getKysely());
}

async function storeHistory(
  ctx: SubscriptionsContext,
  tx: EntityManager,
  changes: readonly SubscriptionChange[],
  now: Temporal.Instant,
): Promise<void> {
  // Lines of the same instant are read in the order of their ids, which is no order within a millisecond.
  const ids = changes.map(() => newId()).sort();
  await sql`
    insert into subscription_event
      (id, subscription_id, user_id, kind, reason, before, after, actor_kind, actor_id, occurred_at)
    select *, ${ctx.actor.kind}::text, ${ctx.actor.id}::text, ${now.toString()}::timestamptz
    from ${rowTable('line', changes, {
      id: ['uuid', (_, index) => ids[index]!],
      subscription_id: ['uuid', ({ after }) => after.id],
      user_id: ['uuid', ({ after }) => after.userId],
      kind: ['text', ({ kind }) => kind],
      reason: ['text', ({ reason }) => reason],
      before: ['jsonb', ({ before }) => snapshot(before)],
      after: ['jsonb', ({ after }) => snapshot(after)],
    })}
  `.execute(tx.getKysely());
}

/** What a line of history keeps of the subscription on either side of the change. */
export interface SubscriptionSnapshot {
  status: SubscriptionStatus;
  plan_code: string;
  amount_minor: string;
  currency_code: string;
  current_period_start: string | null;
  current_period_end: string | null;
  cancel_at_period_end: boolean;
  /** Left out where none is to come. */
  scheduled_price_id?: string;
  announced_price_id?: string;
}

/** The snapshot of a state. */
export function snapshot(state: SubscriptionState): SubscriptionSnapshot {
  return {
    status: state.status,
    plan_code: state.planCode,
    amount_minor: state.amount.amountMinor.toString(),
    currency_code: state.amount.currencyCode,
    current_period_start: state.currentPeriodStart?.toString() ?? null,
    current_period_end: state.currentPeriodEnd?.toString() ?? null,
    cancel_at_period_end: state.cancelAtPeriodEnd,
    ...(state.scheduledPriceId !== null && { scheduled_price_id: state.scheduledPriceId }),
    ...(state.announcedPriceId !== null && { announced_price_id: state.announcedPriceId }),
  };
}
