import { businessNow } from '../db/clock.ts';
import { inBatchTransaction, type EntityManager } from '../db/orm.ts';
import { appendFacts } from '../ledger/append-facts.ts';
import { failPoint } from '../lib/fail-point.ts';
import { enqueueNotices, type CustomerNotice } from '../outbox/customer-notices.ts';
import {
  lockAttempts,
  storeAttempts,
  storePayments,
  type AttemptRow,
  type AttemptUpdate,
} from '../payments/attempt-rows.ts';
import { claimSurplusRefunds } from '../payments/claim-refunds.ts';
import { decideSettlement } from './decide-settlement.ts';
import type { Decision, Settlement, SettleResult } from './decision.ts';
import { chargedFacts } from './journal-facts.ts';
import { paymentNotices } from './payment-notices.ts';
import { lockSubscriptionsOfAttempts, storeChanges, type SubscriptionsContext } from './subscription-rows.ts';

/**
 * The only settle: state, period, payment, entitlement, history, outbox and journal in one transaction, for a whole batch. It is
 * idempotent, because states move only forward, under the locks of the subscription and then the attempt. Where one
 * row of a batch is bad, the others are settled each for itself.
 */
export async function settlePayments(
  ctx: SubscriptionsContext,
  settlements: readonly Settlement[],
): Promise<SettleResult[]> {
  if (settlements.length === 0) return [];
  try {
    const results = await settleBatch(ctx, settlements);
    failPoint('settle.after-commit');
    ctx.wake('relay');
    return results;
  } catch (error) {
    if (settlements.length === 1) {
      ctx.log.error({ err: error, attempt: settlements[0]!.attemptId }, 'settle failed');
      return ['failed'];
    }
    ctx.log.warn({ err: error, count: settlements.length }, 'settle of a batch failed, settling one by one');
    const results: SettleResult[] = [];
    for (const settlement of settlements) results.push(...(await settlePayments(ctx, [settlement])));
    return results;
  }
}

async function settleBatch(ctx: SubscriptionsContext, settlements: readonly Settlement[]): Promise<SettleResult[]> {
  const settled = await inBatchTransaction(ctx.em, (tx) => settleInTransaction(ctx, tx, settlements));
  for (const [index, { decision, attempt }] of settled.entries()) report(ctx, decision, attempt, settlements[index]!);
  return settled.map(({ decision }) => decision.result);
}

/** As `settlePayments`, in a transaction of the caller's, who wakes the relay when it is committed; one bad row fails all. */
export async function settleInTransaction(
  ctx: SubscriptionsContext,
  tx: EntityManager,
  settlements: readonly Settlement[],
): Promise<{ decision: Decision; attempt: AttemptRow }[]> {
  const ids = settlements.map(({ attemptId }) => attemptId);
  const subscriptions = await lockSubscriptionsOfAttempts(tx, ids);
  const attempts = new Map((await lockAttempts(tx, ids)).map((row) => [row.id, row]));
  const now = await businessNow(tx);
  const settled: { decision: Decision; attempt: AttemptRow }[] = [];
  const notices: CustomerNotice[] = [];
  for (const settlement of settlements) {
    const attempt = attempts.get(settlement.attemptId);
    if (!attempt) throw new Error(`no attempt ${settlement.attemptId}`);
    const subscription = subscriptions.get(attempt.subscriptionId)!;
    const decision = await decideSettlement(ctx, tx, attempt, subscription, settlement, now);
    const last = decision.changes?.at(-1);
    if (last) subscriptions.set(subscription.id, last.after);
    if (decision.attempt) attempts.set(attempt.id, { ...attempt, ...settledPart(decision.attempt) });
    settled.push({ decision, attempt });
    notices.push(...paymentNotices(attempt, decision, last?.after ?? subscription));
  }
  const decisions = settled.map(({ decision }) => decision);
  await storeAttempts(
    tx,
    decisions.flatMap(({ attempt }) => attempt ?? []),
  );
  await storePayments(
    tx,
    decisions.flatMap(({ payment }) => payment ?? []),
    now,
  );
  await claimSurplusRefunds(
    tx,
    decisions.flatMap(({ surplus }) => surplus ?? []),
    now,
  );
  await storeChanges(
    ctx,
    tx,
    decisions.flatMap(({ changes }) => changes ?? []),
    now,
  );
  await appendFacts(tx, chargedFacts(decisions, attempts), now);
  await enqueueNotices(tx, notices, now);
  for (const [index, { alsoInTx }] of settlements.entries()) {
    if (hasEffect(decisions[index]!)) await alsoInTx?.(tx, decisions[index]!, now);
  }
  failPoint('settle.before-commit');
  return settled;
}

function hasEffect({ result }: Decision): boolean {
  return result === 'settled' || result === 'surplus';
}

/** What a later settlement of the same attempt in the same batch has to know. */
function settledPart({ state, providerPaymentId }: AttemptUpdate): Partial<AttemptRow> {
  return providerPaymentId === null ? { state } : { state, providerPaymentId };
}

function report(ctx: SubscriptionsContext, decision: Decision, attempt: AttemptRow, { outcome }: Settlement): void {
  const facts = {
    attempt: attempt.id,
    subscription: attempt.subscriptionId,
    purpose: attempt.purpose,
    outcome: outcome.kind,
  };
  if (decision.result === 'surplus' || decision.result === 'mismatch' || outcome.kind === 'refused') {
    ctx.log.error({ ...facts, result: decision.result }, 'payment needs a person');
  } else {
    ctx.log.info({ ...facts, result: decision.result }, 'payment outcome');
  }
}
