import { sql } from 'kysely';
import { changePlan, type PlanChangeInput } from '../catalog/change-plan.ts';
import type { PlanView, PriceView } from '../catalog/plan-view.ts';
import type { EntityManager } from '../db/orm.ts';
import type { CallContext } from '../identity/call-context.ts';
import { BillingError } from '../lib/billing-error.ts';
import { newId } from '../lib/ids.ts';

const noticeDays = 7;

export interface MovePriceInput extends PlanChangeInput {
  fromPriceId: string;
  toPriceId: string;
}

export interface PriceMove {
  readonly plan: PlanView;
  readonly affectedSubscribers: number;
  /** Of these, who pay the new price at their next renewal. */
  readonly atNextRenewal: number;
  /** The new price applies to cycles that are due from then on. */
  readonly appliesFrom: Temporal.Instant;
}

/** The end of the notice that is given now. */
export function noticeEndsAt(now: Temporal.Instant): Temporal.Instant {
  return now.add({ hours: noticeDays * 24 });
}

/** Subscriptions that a move reaches, as a condition on `subscription`: paid ones, or ones that will be. */
export const movable = sql`status in ('TRIALING', 'ACTIVE', 'PAST_DUE') and not complimentary`;

/**
 * Moves subscribers from one price of a plan to another, with notice: this call writes down that it is wanted, and
 * announce-price.ts tells them, in batches. Throws PLAN_NOT_FOUND, ETAG_MISMATCH, PRICE_NOT_ELIGIBLE,
 * PRICE_MOVE_IN_PROGRESS.
 */
export async function movePrice(ctx: CallContext, input: MovePriceInput): Promise<PriceMove> {
  const { fromPriceId, toPriceId } = input;
  const { plan, ...moved } = await changePlan(ctx, 'MovePrice', input, async (tx, before, now) => {
    requireMovable(before, input);
    const { actor } = ctx;
    const role = actor.kind === 'operator' ? actor.role : '';
    const { numAffectedRows } = await sql`
      insert into price_move (id, plan_id, from_price_id, to_price_id, reason, actor_id, actor_role, created_at)
      values (${newId()}, ${input.planId}, ${fromPriceId}, ${toPriceId}, ${input.reason}, ${actor.id}, ${role},
        ${now.toString()})
      on conflict (from_price_id) where finished_at is null do nothing
    `.execute(tx.getKysely());
    if (numAffectedRows !== 1n) {
      throw new BillingError('conflict', 'PRICE_MOVE_IN_PROGRESS', 'subscribers of this price are being moved', {
        retryDelayMs: 1_000,
      });
    }
    const appliesFrom = noticeEndsAt(now);
    const counts = await countMovable(tx, input, appliesFrom);
    const audited = { moved_from_price_id: fromPriceId, moved_to_price_id: toPriceId, ...counts };
    return { ...counts, appliesFrom, audited };
  });
  if (!input.validateOnly) ctx.wake('renewals');
  return { plan: plan!, ...moved };
}

function requireMovable({ prices }: PlanView, { fromPriceId, toPriceId }: MovePriceInput): void {
  const [from, to] = [fromPriceId, toPriceId].map((id) => prices.find((price) => price.id === id));
  const obstacle = !from || !to ? (['PLAN', 'the plan has no such price'] as const) : obstacleOf(from, to);
  if (!obstacle) return;
  throw new BillingError('invalid', 'PRICE_NOT_ELIGIBLE', obstacle[1], { metadata: { obstacle: obstacle[0] } });
}

function obstacleOf(from: PriceView, to: PriceView): readonly [code: string, text: string] | undefined {
  if (from.id === to.id) return ['SAME_PRICE', 'it is the very price'];
  if (from.amount.currencyCode !== to.amount.currencyCode) return ['CURRENCY', 'the price is in another currency'];
  const isSameInterval = from.intervalUnit === to.intervalUnit && from.intervalCount === to.intervalCount;
  return isSameInterval ? undefined : ['INTERVAL', 'the price is for another interval'];
}

async function countMovable(
  tx: EntityManager,
  { planId, fromPriceId }: MovePriceInput,
  appliesFrom: Temporal.Instant,
): Promise<{ affectedSubscribers: number; atNextRenewal: number }> {
  const { rows } = await sql<{ all: number; next: number }>`
    select count(*)::int as all,
      count(*) filter (where current_period_end >= ${appliesFrom.toString()} and next_charge_at is not null)::int as next
    from subscription where plan_id = ${planId} and price_id = ${fromPriceId} and ${movable}
  `.execute(tx.getKysely());
  return { affectedSubscribers: rows[0]!.all, atNextRenewal: rows[0]!.next };
}
