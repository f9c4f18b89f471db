import { inBatchTransaction, type EntityManager } from '../db/orm.ts';
import { failPoint } from '../lib/fail-point.ts';
import { markSent, type AttemptRow } from './attempt-rows.ts';
import { callProvider, mapBounded, type CallOutcome } from './call-provider.ts';
import { freezeReceipt } from './receipts.ts';
import { providerOf, type PaymentsContext } from './providers.ts';

/** What became of an attempt that was to be sent; undefined when the last look refused it and nothing was sent. */
export type SentCharge = { readonly attempt: AttemptRow; readonly outcome: CallOutcome | undefined };

/**
 * Sends charges to their providers, outside any transaction, as many at once as each provider takes. Every one is
 * marked as sent immediately before its own call, so that a cancellation that was committed before is never followed
 * by a charge; and only from the state in which it was read.
 */
export async function sendCharges(ctx: PaymentsContext, attempts: readonly AttemptRow[]): Promise<SentCharge[]> {
  const byProvider = Map.groupBy(attempts, (attempt) => attempt.provider);
  const sent = await Promise.all(
    [...byProvider].map(([name, group]) => {
      const concurrencyMax = ctx.providers.get(name)?.capabilities.maxConcurrency ?? 1;
      const lastLook = coalesceLastLooks(ctx.em);
      return mapBounded(group, concurrencyMax, async (attempt): Promise<SentCharge> => {
        try {
          if (!(await lastLook(attempt))) return { attempt, outcome: undefined };
        } catch (error) {
          // The others' answers must not be lost with it.
          ctx.log.error({ err: error, attempt: attempt.id }, 'last look failed');
          return { attempt, outcome: undefined };
        }
        return { attempt, outcome: await sendCharge(ctx, attempt) };
      });
    }),
  );
  return sent.flat();
}

async function sendCharge(ctx: PaymentsContext, attempt: AttemptRow): Promise<CallOutcome> {
  failPoint('send.before-call');
  const outcome = await callProvider(async () => {
    const provider = providerOf(ctx, attempt);
    return provider.charge({
      receipt: await freezeReceipt(ctx.em, provider, { attemptId: attempt.id }),
      idempotencyKey: attempt.idempotencyKey,
      reference: attempt.id,
      amount: attempt.amount,
      providerCustomerId: attempt.providerCustomerId!,
      providerMethodId: attempt.providerMethodId!,
      description: attempt.description,
    });
  });
  failPoint('send.after-call');
  const nothingNow = outcome.kind === 'not executed' || outcome.kind === 'refused';
  // That a repeat was not executed says nothing about the first call.
  return nothingNow && attempt.state !== 'PENDING' ? { kind: 'unknown', note: outcome.note } : outcome;
}

/** One statement for all the charges that are about to be sent at this moment, instead of one each. */
function coalesceLastLooks(em: EntityManager): (attempt: AttemptRow) => Promise<boolean> {
  let waiting: AttemptRow[] = [];
  let look: Promise<Set<string>> | undefined;
  return async (attempt) => {
    waiting.push(attempt);
    look ??= Promise.resolve().then(() => {
      const attempts = waiting;
      waiting = [];
      look = undefined;
      return inBatchTransaction(em, (tx) => markSent(tx, attempts));
    });
    return (await look).has(attempt.id);
  };
}
