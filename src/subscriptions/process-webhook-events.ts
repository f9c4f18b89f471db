import { sql } from 'kysely';
import { businessNow } from '../db/clock.ts';
import { inTransaction } from '../db/orm.ts';
import { findAttemptOfProvider } from '../payments/attempt-rows.ts';
import { callProvider, mapBounded } from '../payments/call-provider.ts';
import { providerNamed, type PaymentsContext } from '../payments/providers.ts';
import type { WebhookEventState } from '../payments/webhook-event.ts';
import type { PaymentProvider } from '../payments/provider.ts';
import { settleDispute } from './settle-dispute.ts';
import { settlePayments } from './settle-payment.ts';
import type { SubscriptionsContext } from './subscription-rows.ts';

const batchMax = 64;
const concurrencyMax = 8;
const leaseMs = 30_000;
/** After the n-th try; the last one repeats until the notice is given up. */
const retryDelaysMs = [1_000, 5_000, 30_000, 300_000, 3_600_000];
const givenUpAfterMs = 24 * 3_600_000;

interface EventRow {
  provider: string;
  provider_event_id: string;
  provider_payment_id: string | null;
  reference: string | null;
  provider_dispute_id: string | null;
  tries: number;
  age_ms: string;
}

/** What became of a notice; undefined to try again later. */
type Processed = { state: Exclude<WebhookEventState, 'RECEIVED'>; note: string } | undefined;

/**
 * One round over the stored notices. A notice is a hint: the payment is looked up at the provider and settled like any
 * other look-up, so that duplicates, old ones and any order change nothing. One that matches no attempt is tried again,
 * since our own row may be a moment behind, and is an orphan after a day. Gives how many were looked at.
 */
export async function processWebhookEvents(ctx: SubscriptionsContext & PaymentsContext): Promise<number> {
  const events = await claimEvents(ctx);
  await mapBounded(events, concurrencyMax, async (event) => {
    try {
      const told = { ...ctx, actor: { kind: 'provider', id: event.provider } } as const;
      const processed = await processEvent(told, event);
      if (processed) await finishEvent(ctx, event, processed);
      else if (isYoung(event)) await releaseEvent(ctx, event);
      else await giveUp(ctx, event, 'its payment could not be settled for a day');
    } catch (error) {
      ctx.log.error({ err: error, provider: event.provider, event: event.provider_event_id }, 'notice failed');
      const end = isYoung(event) ? releaseEvent(ctx, event) : giveUp(ctx, event, 'it failed for a day');
      await end.catch(() => undefined);
    }
  });
  return events.length;
}

function isYoung(event: EventRow): boolean {
  return Number(event.age_ms) < givenUpAfterMs;
}

/** Nothing is lost with it: the sweeper follows the payment, and an operator can have the notice read again. */
async function giveUp(ctx: SubscriptionsContext, event: EventRow, note: string): Promise<void> {
  ctx.log.error({ provider: event.provider, event: event.provider_event_id }, `notice is set aside: ${note}`);
  await finishEvent(ctx, event, { state: 'QUARANTINED', note });
}

async function claimEvents(ctx: SubscriptionsContext): Promise<EventRow[]> {
  return inTransaction(ctx.em, async (tx) => {
    const now = await businessNow(tx);
    const { rows } = await sql<EventRow>`
      select provider, provider_event_id, provider_payment_id, reference, provider_dispute_id, tries,
        floor(extract(epoch from ${now.toString()}::timestamptz - received_at) * 1000)::text as age_ms
      from webhook_event
      where next_try_at <= ${now.toString()} and (lease_until is null or lease_until <= clock_timestamp())
      order by next_try_at limit ${batchMax} for update skip locked
    `.execute(tx.getKysely());
    await sql`
      update webhook_event e set tries = e.tries + 1, next_try_at = c.next_try_at,
        lease_until = clock_timestamp() + make_interval(secs => ${leaseMs / 1000})
      from unnest(${rows.map((row) => row.provider)}::text[], ${rows.map((row) => row.provider_event_id)}::text[],
        ${rows.map((row) => retryAt(row.tries, now).toString())}::timestamptz[]) as c(provider, id, next_try_at)
      where e.provider = c.provider and e.provider_event_id = c.id
    `.execute(tx.getKysely());
    return rows;
  });
}

function retryAt(tries: number, now: Temporal.Instant): Temporal.Instant {
  return now.add({ milliseconds: retryDelaysMs[Math.min(tries, retryDelaysMs.length - 1)]! });
}

async function processEvent(ctx: SubscriptionsContext & PaymentsContext, event: EventRow): Promise<Processed> {
  const provider = providerNamed(ctx, event.provider);
  if (event.provider_dispute_id !== null) return processDispute(ctx, provider, event, event.provider_dispute_id);
  const { reference, provider_payment_id: providerPaymentId } = event;
  const attempt = await findAttemptOfProvider(ctx.em.fork(), provider, { reference, providerPaymentId });
  if (!attempt) return orphanLater(ctx, event);
  const outcome = await callProvider(async () => {
    const found = await provider.lookUp(
      attempt.kind === 'attached'
        ? { providerPaymentId: attempt.providerPaymentId! }
        : { providerPaymentId: providerPaymentId ?? undefined, reference: attempt.id },
    );
    if (!found) throw new Error('the provider does not have the payment it told us of');
    return found;
  });
  if (outcome.kind === 'unknown' || outcome.kind === 'not executed' || outcome.kind === 'refused') return undefined;
  const [result] = await settlePayments(ctx, [{ attemptId: attempt.id, outcome }]);
  if (result === 'failed') return undefined;
  return result === 'mismatch'
    ? { state: 'QUARANTINED', note: 'amount differs' }
    : { state: 'PROCESSED', note: result! };
}

/** The dispute is looked up, and with it the payment that it is about. */
async function processDispute(
  ctx: SubscriptionsContext,
  provider: PaymentProvider,
  event: EventRow,
  providerDisputeId: string,
): Promise<Processed> {
  const outcome = await provider.lookUpDispute(providerDisputeId);
  if (!outcome) throw new Error('the provider does not have the dispute it told us of');
  const { reference, providerPaymentId = null } = outcome.payment;
  const attempt = await findAttemptOfProvider(ctx.em.fork(), provider, { reference, providerPaymentId });
  if (!attempt) return orphanLater(ctx, event);
  const result = await settleDispute(ctx, attempt.id, outcome);
  return result === 'open' ? undefined : { state: 'PROCESSED', note: `dispute: ${outcome.status}` };
}

/** Our own row may be a moment behind; after a day it is somebody else's. */
function orphanLater(ctx: SubscriptionsContext, event: EventRow): Processed {
  if (isYoung(event)) return undefined;
  ctx.log.error({ provider: event.provider, event: event.provider_event_id }, 'notice of a payment that is not ours');
  return { state: 'ORPHAN', note: 'no attempt of ours' };
}

/** It is tried again when its time has come. */
async function releaseEvent(ctx: SubscriptionsContext, event: EventRow): Promise<void> {
  await inTransaction(ctx.em, async (tx) => {
    await sql`
      update webhook_event set lease_until = null
      where provider = ${event.provider} and provider_event_id = ${event.provider_event_id}
    `.execute(tx.getKysely());
  });
}

async function finishEvent(
  ctx: SubscriptionsContext,
  event: EventRow,
  processed: NonNullable<Processed>,
): Promise<void> {
  await inTransaction(ctx.em, async (tx) => {
    const now = await businessNow(tx);
    await sql`
      update webhook_event set state = ${processed.state}, note = ${processed.note}, next_try_at = null, lease_until = null,
        processed_at = ${now.toString()}
      where provider = ${event.provider} and provider_event_id = ${event.provider_event_id}
    `.execute(tx.getKysely());
  });
}
