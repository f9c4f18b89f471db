import { sql } from 'kysely';
import { recordAudit } from '../audit/record-audit.ts';
import { businessNow } from '../db/clock.ts';
import type { EntityManager } from '../db/orm.ts';
import { onceOrRehearsed } from '../identity/once-or-rehearsed.ts';
import { findAnswer, requestKey } from '../identity/once.ts';
import { BillingError } from '../lib/billing-error.ts';
import { newId } from '../lib/ids.ts';
import type { Money } from '../lib/money.ts';
import { callProvider } from '../payments/call-provider.ts';
import { idempotencyKey, Payment } from '../payments/payment.ts';
import { providerNamed, type PaymentsContext, type ProviderKey } from '../payments/providers.ts';
import { requireContact } from '../payments/receipts.ts';
import { WebhookEvent } from '../payments/webhook-event.ts';
import type { OutcomeOf } from '../subscriptions/decision.ts';
import { settleInTransaction } from '../subscriptions/settle-payment.ts';
import { findTransition } from '../subscriptions/state-table.ts';
import { lockSubscriptions, type SubscriptionsContext } from '../subscriptions/subscription-rows.ts';
import type { SubscriptionState } from '../subscriptions/subscription.ts';

type Context = SubscriptionsContext & PaymentsContext;

interface Asked {
  readonly provider: string;
  readonly providerEventId: string;
  readonly paymentId: string;
  readonly giveBack: boolean;
  readonly reason: string;
}

export interface Attachment {
  readonly amount: Money;
  /** Otherwise it goes back. */
  readonly pays: boolean;
  /** Until when the subscription is paid with it; null when it goes back. */
  readonly paidUntil: Temporal.Instant | null;
}

/** Money that the provider took, as it says itself. */
type Orphan = ProviderKey & { readonly outcome: OutcomeOf<'succeeded'> };

/**
 * Says which payment money belongs to that came without one: an attempt is written for it and settled in the same
 * transaction, by the only settle. It pays a renewal that waits for that very amount and has no attempt under way;
 * given back, it is surplus of the payment, whatever the payment is. The notices of it are done with. How much came
 * says the provider, asked before the transaction. Throws WEBHOOK_EVENT_NOT_FOUND, WEBHOOK_EVENT_NOT_ORPHAN,
 * PROVIDER_NOT_FOUND, PROVIDER_UNAVAILABLE, ORPHAN_WITHOUT_MONEY, PAYMENT_NOT_FOUND, PAYMENT_OUTCOME_PENDING,
 * ORPHAN_PAYS_NOTHING, CONTACT_REQUIRED.
 */
export async function attachOrphan(
  ctx: Context,
  input: Asked & { requestId: string; validateOnly: boolean },
): Promise<Attachment> {
  const { requestId, validateOnly, ...asked } = input;
  const key = requestKey(ctx, 'AttachOrphan', requestId, asked);
  // The money of a repeat may have gone back by now, and the provider may be away.
  const answer = validateOnly ? undefined : await findAnswer<Attachment>(ctx.em.fork(), key);
  if (answer) return answer;
  const orphan = await askForMoney(ctx, asked);
  const attached = await onceOrRehearsed(ctx, key, validateOnly, (tx) => attach(ctx, tx, asked, orphan));
  if (!validateOnly) {
    const { provider, providerEventId: event, paymentId: payment } = asked;
    ctx.log.info({ provider, event, payment, pays: attached.pays }, 'orphan attached');
    ctx.wake('relay');
    ctx.wake('renewals');
  }
  return attached;
}

async function askForMoney(ctx: Context, { provider: name, providerEventId }: Asked): Promise<Orphan> {
  const event = await ctx.em.fork().findOne(WebhookEvent, { provider: name, providerEventId });
  if (!event) throw eventNotFound();
  const { providerPaymentId } = event;
  if (providerPaymentId === null) throw withoutMoney();
  const provider = providerNamed(ctx, name);
  const outcome = await callProvider(async () => (await provider.lookUp({ providerPaymentId })) ?? { kind: 'dead' });
  switch (outcome.kind) {
    case 'succeeded':
      // Somebody has begun to give it back at the provider: what is left is theirs to decide about.
      if (outcome.refundedMinor > 0n) throw withoutMoney();
      return { provider: name, merchantAccount: provider.merchantAccount, outcome };
    case 'unknown':
    case 'not executed':
    case 'refused':
      throw new BillingError('unavailable', 'PROVIDER_UNAVAILABLE', 'the payment system does not answer; try again', {
        retryDelayMs: 5_000,
      });
    default:
      throw withoutMoney();
  }
}

async function attach(ctx: Context, tx: EntityManager, asked: Asked, orphan: Orphan): Promise<Attachment> {
  const now = await businessNow(tx);
  const { providerPaymentId, amount } = orphan.outcome;
  await finishNotices(tx, asked, orphan, now);
  const found = await tx.findOne(Payment, { id: asked.paymentId });
  if (!found) throw new BillingError('not-found', 'PAYMENT_NOT_FOUND', 'no such payment');
  const subscription = (await lockSubscriptions(tx, [found.subscriptionId])).get(found.subscriptionId)!;
  const pays = !asked.giveBack && (await requireWaits(tx, asked.paymentId, subscription, amount));
  // The refund of it needs a receipt where the law wants one.
  await requireContact(tx, providerNamed(ctx, orphan.provider), found.userId);
  const attemptId = await writeAttempt(tx, asked.paymentId, orphan, pays, now);
  const [settled] = await settleInTransaction(ctx, tx, [{ attemptId, outcome: orphan.outcome, reason: asked.reason }]);
  const { result, changes } = settled!.decision;
  if (result !== (pays ? 'settled' : 'surplus')) throw new Error(`an orphan was ${result}`);
  await recordAudit(
    ctx,
    tx,
    {
      action: 'AttachOrphan',
      targetKind: 'payment',
      targetId: asked.paymentId,
      userId: found.userId,
      reason: asked.reason,
      before: { provider: asked.provider, provider_event_id: asked.providerEventId },
      after: { attempt_id: attemptId, provider_payment_id: providerPaymentId, ...amount, pays },
    },
    now,
  );
  return { amount, pays, paidUntil: changes?.at(-1)?.after.currentPeriodEnd ?? null };
}

/**
 * All that told of this money is done with, under the rows' locks: whoever attaches it a second time finds no orphan. A
 * dispute of it that was nobody's may be somebody's now: those of the account are looked at again.
 */
async function finishNotices(
  tx: EntityManager,
  { provider, providerEventId }: Asked,
  { merchantAccount, outcome: { providerPaymentId } }: Orphan,
  now: Temporal.Instant,
): Promise<void> {
  const db = tx.getKysely();
  const { rows } = await sql<{ id: string }>`
    select provider_event_id as id from webhook_event
    where provider = ${provider} and provider_payment_id = ${providerPaymentId} and state = 'ORPHAN'
    order by provider_event_id for update
  `.execute(db);
  const { rows: ours } = await sql`
    select from payment_attempt where provider = ${provider} and merchant_account = ${merchantAccount}
      and provider_payment_id = ${providerPaymentId}
  `.execute(db);
  if (ours.length > 0 || !rows.some(({ id }) => id === providerEventId)) {
    throw new BillingError(
      'wrong-state',
      'WEBHOOK_EVENT_NOT_ORPHAN',
      'this notice is not about money without a payment',
    );
  }
  await sql`
    update webhook_event set state = 'PROCESSED', note = 'attached by an operator', processed_at = ${now.toString()}
    where provider = ${provider} and provider_event_id = any(${rows.map(({ id }) => id)}::text[])
  `.execute(db);
  await sql`
    update webhook_event set state = 'RECEIVED', next_try_at = ${now.toString()}, processed_at = null, lease_until = null
    where provider = ${provider} and provider_dispute_id is not null and state = 'ORPHAN'
  `.execute(db);
  await sql`
    delete from foreign_dispute where provider = ${provider} and merchant_account = ${merchantAccount}
  `.execute(db);
}

/** Throws unless the subscription waits for exactly this money and nothing of it is under way; under the lock of its row. */
async function requireWaits(
  tx: EntityManager,
  paymentId: string,
  subscription: SubscriptionState,
  amount: Money,
): Promise<true> {
  const { rows } = await sql<{ matches: boolean; open: boolean }>`
    select p.status = 'PENDING' and p.purpose like 'cycle:%' and p.amount_minor = ${amount.amountMinor}
        and p.currency_code = ${amount.currencyCode} as matches,
      exists (select from payment_attempt a where a.payment_id = p.id
        and a.state in ('PENDING', 'SENT', 'WAITING', 'UNKNOWN', 'PARKED')) as open
    from payment p where p.id = ${paymentId} for update
  `.execute(tx.getKysely());
  const { matches, open } = rows[0]!;
  if (open) {
    throw new BillingError(
      'wrong-state',
      'PAYMENT_OUTCOME_PENDING',
      'the outcome of this payment is not known yet; try again when it is',
    );
  }
  if (matches && subscription.openPaymentId === null && findTransition(subscription, 'payment-succeeded')) return true;
  throw new BillingError(
    'wrong-state',
    'ORPHAN_PAYS_NOTHING',
    'this payment does not wait for that amount; the money can be given back',
  );
}

/** Attempts of ours are numbered below: at most 15 (a check of the database). */
const attachedFrom = 101;

/**
 * The attempt that explains the money. One that pays is awaited, as after a claim; one that goes back is over before
 * its money is heard of, which makes the money surplus (T5).
 */
async function writeAttempt(
  tx: EntityManager,
  paymentId: string,
  { provider, merchantAccount, outcome: { providerPaymentId, amount } }: Orphan,
  pays: boolean,
  now: Temporal.Instant,
): Promise<string> {
  const id = newId();
  const { rows } = await sql<{ number: number }>`
    select greatest(max(attempt_number) + 1, ${attachedFrom}) as number from payment_attempt where payment_id = ${paymentId}
  `.execute(tx.getKysely());
  const number = rows[0]!.number;
  await sql`
    insert into payment_attempt (id, payment_id, subscription_id, attempt_number, kind, idempotency_key, provider,
      merchant_account, amount_minor, currency_code, description, state, provider_payment_id, lease_until, next_check_at,
      created_at, settled_at)
    select ${id}, p.id, p.subscription_id, ${number}, 'attached', ${idempotencyKey(paymentId, number)}, ${provider},
      ${merchantAccount}, ${amount.amountMinor}, ${amount.currencyCode}, plan.name, ${pays ? 'UNKNOWN' : 'DEAD'},
      ${providerPaymentId}, clock_timestamp(), ${pays ? now.toString() : null}, ${now.toString()},
      ${pays ? null : now.toString()}
    from payment p join subscription s on s.id = p.subscription_id join plan on plan.id = s.plan_id
    where p.id = ${paymentId}
  `.execute(tx.getKysely());
  if (pays) {
    await sql`
      update subscription s set open_payment_id = p.id from payment p
      where p.id = ${paymentId} and s.id = p.subscription_id
    `.execute(tx.getKysely());
  }
  return id;
}

function eventNotFound(): BillingError {
  return new BillingError('not-found', 'WEBHOOK_EVENT_NOT_FOUND', 'no such notice');
}

function withoutMoney(): BillingError {
  return new BillingError('wrong-state', 'ORPHAN_WITHOUT_MONEY', 'the payment system took no money with this payment');
}
