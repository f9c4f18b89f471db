import { sql } from 'kysely';
import { businessNow } from '../db/clock.ts';
import { inTransaction } from '../db/orm.ts';
import { voidUnsentPayments } from '../payments/attempt-rows.ts';
import { mapBounded } from '../payments/call-provider.ts';
import type { PaymentsContext } from '../payments/providers.ts';
import { dunning } from './dunning.ts';
import { endCheckout } from './end-checkout.ts';
import { expireChanges } from './expire-changes.ts';
import { end, endGrace, type SubscriptionChange } from './lifecycle.ts';
import { lockSubscriptions, storeChanges, type SubscriptionsContext } from './subscription-rows.ts';
import type { SubscriptionState } from './subscription.ts';
import { isReminder, remindOfTrials } from './trial-reminder.ts';

const batchMax = 500;
const checkoutsMax = 50;
const concurrencyMax = 8;
const checkoutRetryMinutes = 10;

/**
 * One round of what time alone does: T4 (checkouts whose time is over), T6 (the reminder of a trial's end), T14, T15, T19, T21 (changes that were not paid). An end waits a while for a charge
 * that is due or open; grace ends when it ends. Gives how many subscriptions were looked at.
 */
export async function runTransitions(ctx: SubscriptionsContext & PaymentsContext): Promise<number> {
  // First, so that no end waits for a payment that nobody waits for.
  const expired = await expireChanges(ctx);
  return expired + (await endDueSubscriptions(ctx)) + (await endDueCheckouts(ctx));
}

async function endDueSubscriptions(ctx: SubscriptionsContext & PaymentsContext): Promise<number> {
  const count = await inTransaction(ctx.em, async (tx) => {
    const now = await businessNow(tx);
    const { rows } = await sql<{ id: string; waits: boolean | null }>`
      select s.id, charge.waits from subscription s, lateral (
        select s.next_transition_at > ${waitedSince(now)} and (s.next_charge_at <= ${now.toString()}
          or exists (select from payment_attempt a where a.payment_id = s.open_payment_id
            and a.state in ('PENDING', 'SENT', 'WAITING', 'UNKNOWN'))) as waits) charge
      where s.next_transition_at <= ${now.toString()} and s.status <> 'INCOMPLETE'
        and (charge.waits is not true or s.grace_until <= ${now.toString()})
      order by s.next_transition_at, s.id limit ${batchMax} for update of s skip locked
    `.execute(tx.getKysely());
    const states = await lockSubscriptions(
      tx,
      rows.map(({ id }) => id),
    );
    const due = rows.map((row) => ({ ...row, state: states.get(row.id)! }));
    await remindOfTrials(ctx, tx, due.map(({ state }) => state).filter(isReminder), now);
    const changes = due
      .filter(({ state }) => !isReminder(state))
      .flatMap(({ state, waits }) => dueChanges(state, waits === true, now));
    const over = changes.filter(({ after }) => after.endedAt !== null).map(({ after }) => after.id);
    await voidUnsentPayments(tx, over, now);
    await storeChanges(ctx, tx, changes, now);
    return rows.length;
  });
  if (count > 0) ctx.wake('relay');
  return count;
}

function waitedSince(now: Temporal.Instant): string {
  return now.subtract({ hours: dunning.endWaitsHours }).toString();
}

function dueChanges(state: SubscriptionState, waits: boolean, now: Temporal.Instant): SubscriptionChange[] {
  const isDue = (at: Temporal.Instant | null) => at !== null && Temporal.Instant.compare(at, now) <= 0;
  if (state.status !== 'PAST_DUE') return [end(state, 'period-ends', now)];
  const changes = isDue(state.graceUntil) ? [endGrace(state)] : [];
  const current = changes.at(-1)?.after ?? state;
  return isDue(current.dunningEndsAt) && !waits ? [...changes, end(current, 'dunning-ends', now)] : changes;
}

/** Asked in the claim to wait a while, so that a provider that is away is not asked by every tick. */
async function endDueCheckouts(ctx: SubscriptionsContext & PaymentsContext): Promise<number> {
  const ids = await inTransaction(ctx.em, async (tx) => {
    const now = await businessNow(tx);
    const { rows } = await sql<{ id: string }>`
      update subscription set next_transition_at = ${now.add({ minutes: checkoutRetryMinutes }).toString()}
      where id in (select id from subscription where next_transition_at <= ${now.toString()} and status = 'INCOMPLETE'
        order by next_transition_at, id limit ${checkoutsMax} for update skip locked)
      returning id
    `.execute(tx.getKysely());
    return rows.map(({ id }) => id);
  });
  await mapBounded(ids, concurrencyMax, async (id) => {
    try {
      await endCheckout(ctx, id, 'CHECKOUT_EXPIRED');
    } catch (error) {
      ctx.log.warn({ err: error, subscription: id }, 'checkout could not be ended yet');
    }
  });
  return ids.length;
}
