import { sql } from 'kysely';
import { businessNow } from '../db/clock.ts';
import { optionalInstantFromRow } from '../db/instant-type.ts';
import type { EntityManager } from '../db/orm.ts';
import { BillingError } from '../lib/billing-error.ts';
import type { Money } from '../lib/money.ts';
import type { SubscriptionsContext } from '../subscriptions/subscription-rows.ts';
import { dayOf } from './list-customers.ts';

const spanDefaultDays = 30;
const spanMaxDays = 366;

export interface DayRevenue {
  readonly day: string;
  readonly charged: Money;
  readonly refunded: Money;
  readonly payments: number;
}

export interface Metrics {
  readonly fromDay: string;
  readonly toDay: string;
  readonly timeZone: string;
  readonly asOf: Temporal.Instant;
  readonly counts: Record<'active' | 'trialing' | 'pastDue' | 'incomplete' | 'ending' | 'complimentary', number>;
  /** Per currency, sorted. */
  readonly monthlyRecurringRevenue: readonly Money[];
  readonly activeAtStart: number;
  readonly churnedVoluntary: number;
  readonly churnedInvoluntary: number;
  readonly declinedRenewals: number;
  readonly recoveredRenewals: number;
  /** Days and currencies without any are left out. */
  readonly revenue: readonly DayRevenue[];
  readonly attention: Record<
    'unknown' | 'parked' | 'disputes' | 'orphans' | 'quarantined' | 'failedRefunds' | 'unpublished',
    number
  > & { readonly oldestUnknownAt: Temporal.Instant | null };
}

interface Span {
  readonly from: string;
  readonly to: string;
}

/**
 * Figures for days of the service's time zone, both inclusive; empty: until today, and 30 days before the last. Throws
 * INVALID_FIELDS for days that are none, the wrong way round or more than 366 apart.
 */
export async function getMetrics(
  ctx: SubscriptionsContext,
  input: { fromDay: string; toDay: string },
): Promise<Metrics> {
  const { billingTimeZone: timeZone } = ctx;
  const em = ctx.em.fork();
  const asOf = await businessNow(em);
  const toDay = input.toDay || asOf.toZonedDateTimeISO(timeZone).toPlainDate().toString();
  const to = dayOf(toDay, timeZone, 'to_day').end;
  const fromDay = input.fromDay || Temporal.PlainDate.from(toDay).subtract({ days: spanDefaultDays }).toString();
  const from = dayOf(fromDay, timeZone, 'from_day').start;
  const days = Temporal.PlainDate.from(fromDay).until(toDay, { largestUnit: 'days' }).days;
  if (days < 0 || days > spanMaxDays) throw spanInvalid();
  const span = { from, to };
  return {
    fromDay,
    toDay,
    timeZone,
    asOf,
    counts: await readCounts(em),
    monthlyRecurringRevenue: await readRecurringRevenue(em),
    ...(await readChurn(em, span)),
    ...(await readRecovery(em, span)),
    revenue: await readRevenue(em, span, timeZone),
    attention: await readAttention(em),
  };
}

async function readCounts(em: EntityManager): Promise<Metrics['counts']> {
  const { rows } = await sql<Metrics['counts']>`
    select count(*) filter (where status = 'ACTIVE')::int as active,
      count(*) filter (where status = 'TRIALING')::int as trialing,
      count(*) filter (where status = 'PAST_DUE')::int as "pastDue",
      count(*) filter (where status = 'INCOMPLETE')::int as incomplete,
      count(*) filter (where status in ('ACTIVE', 'TRIALING') and cancel_at_period_end)::int as ending,
      count(*) filter (where status = 'ACTIVE' and complimentary)::int as complimentary
    from subscription where status in ('ACTIVE', 'TRIALING', 'PAST_DUE', 'INCOMPLETE')
  `.execute(em.getKysely());
  return rows[0]!;
}

async function readRecurringRevenue(em: EntityManager): Promise<Money[]> {
  const { rows } = await sql<{ currency_code: string; amount_minor: string }>`
    select currency_code, round(sum(amount_minor / interval_count * case interval_unit
        when 'month' then 1::numeric when 'year' then 1::numeric / 12 when 'day' then 365::numeric / 12
        else 365::numeric / 84 end * subscribers))::text as amount_minor
    from (select price_id, count(*) as subscribers from subscription
        where status = 'ACTIVE' and not cancel_at_period_end and not complimentary and payment_method_id is not null
        group by price_id) sold
      join (select id, currency_code, amount_minor::numeric, interval_unit, interval_count from price) price
        on price.id = sold.price_id
    group by currency_code order by currency_code
  `.execute(em.getKysely());
  return rows.map((row) => ({ currencyCode: row.currency_code, amountMinor: BigInt(row.amount_minor) }));
}

/** Who asked for the end has left `canceled_at`; an end by failed payments has none. */
async function readChurn(
  em: EntityManager,
  { from, to }: Span,
): Promise<Pick<Metrics, 'activeAtStart' | 'churnedVoluntary' | 'churnedInvoluntary'>> {
  const { rows } = await sql<{ active: number; voluntary: number; involuntary: number }>`
    select count(*) filter (where created_at < ${from} and (ended_at is null or ended_at >= ${from}))::int as active,
      count(*) filter (where ended_at >= ${from} and ended_at < ${to} and canceled_at is not null)::int as voluntary,
      count(*) filter (where ended_at >= ${from} and ended_at < ${to} and canceled_at is null)::int as involuntary
    from subscription where current_period_start is not null and not complimentary
  `.execute(em.getKysely());
  const { active, voluntary, involuntary } = rows[0]!;
  return { activeAtStart: active, churnedVoluntary: voluntary, churnedInvoluntary: involuntary };
}

async function readRecovery(
  em: EntityManager,
  { from, to }: Span,
): Promise<Pick<Metrics, 'declinedRenewals' | 'recoveredRenewals'>> {
  const { rows } = await sql<{ declined: number; recovered: number }>`
    select count(*)::int as declined, count(*) filter (where p.status = 'SUCCEEDED')::int as recovered
    from payment p where p.purpose like 'cycle:%' and exists (
      select 1 from payment_attempt a where a.payment_id = p.id and a.attempt_number = 1 and a.state = 'DECLINED'
        and a.settled_at >= ${from} and a.settled_at < ${to})
  `.execute(em.getKysely());
  return { declinedRenewals: rows[0]!.declined, recoveredRenewals: rows[0]!.recovered };
}

async function readRevenue(em: EntityManager, { from, to }: Span, timeZone: string): Promise<DayRevenue[]> {
  const { rows } = await sql<{ day: string; currency_code: string; charged: string; refunded: string; count: number }>`
    select (occurred_at at time zone ${timeZone})::date::text as day, currency_code,
      coalesce(sum(amount_minor) filter (where kind = 'CHARGED'), 0)::text as charged,
      coalesce(sum(amount_minor) filter (where kind = 'REFUNDED'), 0)::text as refunded,
      count(*) filter (where kind = 'CHARGED')::int as count
    from journal_fact
    where kind in ('CHARGED', 'REFUNDED') and occurred_at >= ${from} and occurred_at < ${to}
    group by 1, 2 order by 1, 2
  `.execute(em.getKysely());
  return rows.map((row) => {
    const money = (amountMinor: string) => ({ currencyCode: row.currency_code, amountMinor: BigInt(amountMinor) });
    return { day: row.day, charged: money(row.charged), refunded: money(row.refunded), payments: row.count };
  });
}

async function readAttention(em: EntityManager): Promise<Metrics['attention']> {
  const { rows } = await sql<Omit<Metrics['attention'], 'oldestUnknownAt'> & { oldest: string | null }>`
    select (select count(*)::int from payment_attempt where state = 'UNKNOWN') as unknown,
      (select min(created_at)::text from payment_attempt where state = 'UNKNOWN') as oldest,
      (select count(*)::int from payment_attempt where state = 'PARKED') as parked,
      (select count(*)::int from dispute where state = 'OPEN') as disputes,
      (select count(*)::int from webhook_event where state = 'ORPHAN') as orphans,
      (select count(*)::int from webhook_event where state = 'QUARANTINED') as quarantined,
      (select count(*)::int from refund where state = 'FAILED') as "failedRefunds",
      (select count(*)::int from outbox_message where published_at is null) as unpublished
  `.execute(em.getKysely());
  const { oldest, ...counts } = rows[0]!;
  return { ...counts, oldestUnknownAt: optionalInstantFromRow(oldest) };
}

function spanInvalid(): BillingError {
  return new BillingError('invalid', 'INVALID_FIELDS', 'fields of the request are not valid', {
    fieldViolations: [{ field: 'to_day', description: `must be at most ${spanMaxDays} days after from_day` }],
  });
}
