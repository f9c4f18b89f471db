import { sql, type RawBuilder } from 'kysely';
import { businessNow } from '../db/clock.ts';
import { inTransaction, type EntityManager } from '../db/orm.ts';
import { enqueueNotices, type CustomerNotice } from '../outbox/customer-notices.ts';
import type { PaymentsContext } from '../payments/providers.ts';
import { stateFromRow, subscriptionColumns, type SubscriptionRow } from './subscription-rows.ts';
import type { SubscriptionState } from './subscription.ts';
import { upcomingCharges, type UpcomingCharge } from './upcoming-charges.ts';

const batchMax = 500;
/** How long before a renewal its viewer is told of it, and of a card that will have expired: seven days of 24 hours. */
const announcedSpan = sql`interval '168 hours'`;

/**
 * One batch of telling viewers what will be charged in seven days (a trial's first charge has a reminder of its own),
 * and whose card will have expired by then. How far it came is one place in due order for the whole service, stored
 * with the effect: no renewal pays for being announced with a write of its own, and a crash continues where it was.
 * What is due already is not announced any more. Gives how many charges were looked at.
 */
export async function announceCharges(ctx: PaymentsContext): Promise<number> {
  // Nearly every look finds nothing: those of many replicas should not wait for one another, or write.
  if ((await findUnannounced(ctx.em.fork(), 1)).length === 0) return 0;
  const count = await inTransaction(ctx.em, async (tx) => {
    const now = await businessNow(tx);
    await sql`
      insert into charge_announcement (due_at, subscription_id) values (${now.toString()}, ${firstId})
      on conflict do nothing
    `.execute(tx.getKysely());
    const { rows: places } = await sql`select from charge_announcement for update skip locked`.execute(tx.getKysely());
    if (places.length === 0) return 0;
    const states = await findUnannounced(tx, batchMax);
    const last = states.at(-1);
    if (!last) return 0;
    await sql`
      update charge_announcement set due_at = ${last.nextChargeAt!.toString()}, subscription_id = ${last.id}
    `.execute(tx.getKysely());
    const due = states.filter(isRegular);
    const charges = await upcomingCharges(ctx, tx, due);
    const notices = due.flatMap((state) => {
      const charge = charges.get(state.id);
      return charge ? noticesOf(state, charge) : [];
    });
    await enqueueNotices(tx, notices, now);
    return states.length;
  });
  if (count > 0) ctx.wake('relay');
  return count;
}

const firstId = '00000000-0000-0000-0000-000000000000';

/**
 * The condition that a row `s` of subscription is past the place and is charged within the days; `now` is an expression of
 * business time. Before the first announcement the place is now.
 */
export function isUnannounced(now: RawBuilder<unknown>): RawBuilder<unknown> {
  // One lower bound: with another one beside it the index would be read from there on, seven days of it with every look.
  return sql`s.next_charge_at is not null and s.open_payment_id is null
    and s.next_charge_at <= ${now} + ${announcedSpan}
    and (s.next_charge_at, s.id) > (greatest((select due_at from charge_announcement), ${now}),
      coalesce((select subscription_id from charge_announcement), ${sql.lit(firstId)}::uuid))`;
}

/** When the next charge comes within the days, as a scalar of a statement; null for none. */
export function nextAnnouncement(now: Temporal.Instant): RawBuilder<unknown> {
  return sql`(select min(next_charge_at) - ${announcedSpan} from subscription
    where next_charge_at > ${now.toString()}::timestamptz + ${announcedSpan} and open_payment_id is null)`;
}

async function findUnannounced(em: EntityManager, countMax: number): Promise<SubscriptionState[]> {
  const now = await businessNow(em);
  const { rows } = await sql<SubscriptionRow>`
    select ${subscriptionColumns}
    from subscription s join plan on plan.id = s.plan_id join price on price.id = s.price_id
    where ${isUnannounced(sql`${now.toString()}::timestamptz`)}
    order by s.next_charge_at, s.id limit ${sql.lit(countMax)}
  `.execute(em.getKysely());
  return rows.map(stateFromRow);
}

/** The charge at the end of a period. Retries follow what their first failure said, and a late one was told already. */
function isRegular({ status, nextChargeAt, currentPeriodEnd }: SubscriptionState): boolean {
  return (status === 'ACTIVE' || status === 'TRIALING') && nextChargeAt!.equals(currentPeriodEnd!);
}

function noticesOf(state: SubscriptionState, charge: UpcomingCharge): CustomerNotice[] {
  const { id: subscriptionId, userId } = state;
  const told = { ...charge, chargedAt: state.nextChargeAt! };
  const month = told.chargedAt.toZonedDateTimeISO(state.billingTimeZone).toPlainDate().toPlainYearMonth();
  const willHaveExpired = Temporal.PlainYearMonth.compare(charge.expiry, month) < 0;
  return [
    ...(state.status === 'ACTIVE'
      ? [{ userId, subscriptionId, body: { kind: 'renewalUpcoming', ...told } as const }]
      : []),
    ...(willHaveExpired ? [{ userId, subscriptionId, body: { kind: 'paymentMethodExpiring', ...told } as const }] : []),
  ];
}
