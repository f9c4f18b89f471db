import { recordAudit } from '../audit/record-audit.ts';
import { businessNow } from '../db/clock.ts';
import { inTransaction, type EntityManager } from '../db/orm.ts';
import { answerRequest, beginRequest, releaseRequest, requestKey } from '../identity/once.ts';
import { BillingError } from '../lib/billing-error.ts';
import { findOpenAttempt, type AttemptRow } from '../payments/attempt-rows.ts';
import { callProvider } from '../payments/call-provider.ts';
import { providerOf, type PaymentsContext } from '../payments/providers.ts';
import type { SettleResult } from '../subscriptions/decision.ts';
import { settlePayments } from '../subscriptions/settle-payment.ts';
import type { SubscriptionsContext } from '../subscriptions/subscription-rows.ts';
import { requirePaymentRecord, type PaymentRecord } from './payment-record.ts';

type Context = SubscriptionsContext & PaymentsContext;
export interface Resolution {
  readonly record: PaymentRecord;
  readonly resolved: boolean;
}

/**
 * Asks the provider now what became of a payment's open attempt, and settles by its answer; never by a person's word.
 * What it does not have, or does not know, stays with the sweeper. A preview says only whether there is anything open.
 * Throws PAYMENT_NOT_FOUND, PAYMENT_NOT_OPEN.
 */
export async function resolveUnknownPayment(
  ctx: Context,
  input: { requestId: string; reason: string; validateOnly: boolean; paymentId: string },
): Promise<Resolution> {
  const { requestId, validateOnly, ...asked } = input;
  const before = await requirePaymentRecord(ctx.em.fork(), input.paymentId);
  const key = requestKey(ctx, 'ResolveUnknownPayment', requestId, asked);
  if (validateOnly) {
    await requireOpen(ctx, input.paymentId);
    return { record: before, resolved: false };
  }
  const attempt = await inTransaction(ctx.em, async (tx) => {
    const request = await beginRequest<{ resolved: boolean }>(tx, key);
    if (request.seen && request.answer) return request.answer;
    const open = await findOpenAttempt(tx, input.paymentId);
    // A repeat after a crash finds it settled already.
    if (!isSent(open)) {
      if (!request.seen) throw notOpen();
      await answerRequest(tx, key, { resolved: true });
      return { resolved: true };
    }
    return open;
  });
  if ('resolved' in attempt) return answer(ctx, input.paymentId, attempt.resolved);
  try {
    const audit = async (tx: EntityManager, resolved: boolean) => {
      const { id, userId } = before.payment;
      await recordAudit(
        ctx,
        tx,
        {
          action: 'ResolveUnknownPayment',
          targetKind: 'payment',
          targetId: id,
          userId,
          reason: input.reason,
          before: { attempt_id: attempt.id, state: attempt.state },
          after: { asked: attempt.provider, resolved },
        },
        await businessNow(tx),
      );
    };
    const result = await askAndSettle(ctx, attempt, (tx) => audit(tx, true));
    const settledHere = result === 'settled' || result === 'surplus';
    const resolved = settledHere || result === 'already settled';
    await inTransaction(ctx.em, async (tx) => {
      // Nothing came of it, or somebody else was faster: that it was asked is worth an entry, too.
      if (!settledHere) await audit(tx, resolved);
      await answerRequest(tx, key, { resolved });
    });
    return await answer(ctx, input.paymentId, resolved);
  } catch (error) {
    await releaseRequest(ctx, key);
    throw error;
  }
}

/** The provider's answer about a payment that it has; one that it does not have proves nothing by itself. */
async function askAndSettle(
  ctx: Context,
  attempt: AttemptRow,
  alsoInTx: (tx: EntityManager) => Promise<void>,
): Promise<SettleResult> {
  const outcome = await callProvider(async () => {
    const query = { providerPaymentId: attempt.providerPaymentId ?? undefined, reference: attempt.id };
    const found = await providerOf(ctx, attempt).lookUp(query);
    if (!found) throw new Error('the provider does not have it');
    return found;
  });
  if (outcome.kind === 'unknown' || outcome.kind === 'not executed' || outcome.kind === 'refused') return 'open';
  const [result] = await settlePayments(ctx, [{ attemptId: attempt.id, outcome, alsoInTx }]);
  return result!;
}

async function requireOpen(ctx: Context, paymentId: string): Promise<void> {
  if (!isSent(await findOpenAttempt(ctx.em.fork(), paymentId))) throw notOpen();
}

/** What was never sent has no outcome to ask for. */
function isSent(attempt: AttemptRow | undefined): attempt is AttemptRow {
  return attempt !== undefined && attempt.state !== 'PENDING';
}

function notOpen(): BillingError {
  return new BillingError('wrong-state', 'PAYMENT_NOT_OPEN', 'no outcome of this payment is open');
}

async function answer(ctx: Context, paymentId: string, resolved: boolean): Promise<Resolution> {
  return { record: await requirePaymentRecord(ctx.em.fork(), paymentId), resolved };
}
