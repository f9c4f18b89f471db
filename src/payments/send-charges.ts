import type { EntityManager } from '../db/orm.ts';
import { markSent, type AttemptRow } from './attempt-rows.ts';
import { callProvider, mapBounded, type CallOutcome } from './call-provider.ts';
import type { AttemptState } from './payment.ts';
import { providerNamed, type PaymentsContext } from './providers.ts';

/** What became of an attempt that was to be sent; undefined when the last look found it voided and nothing was sent. */
export type SentCharge = { readonly attempt: AttemptRow; readonly outcome: CallOutcome | undefined };

/**
 * Sends charges to their providers, outside any transaction, as many at once as each provider takes. Every one is
 * marked as sent immediately before its own call, so that a cancellation that was committed before is never followed
 * by a charge. Only attempts in a state of `from` are sent.
 */
export async function sendCharges(
  ctx: PaymentsContext,
  attempts: readonly AttemptRow[],
  from: readonly AttemptState[],
): Promise<SentCharge[]> {
  const byProvider = Map.groupBy(attempts, (attempt) => attempt.provider);
  const sent = await Promise.all(
    [...byProvider].map(([name, group]) => {
      const provider = providerNamed(ctx, name);
      const lastLook = coalesceLastLooks(ctx.em, from);
      return mapBounded(group, provider.capabilities.maxConcurrency, async (attempt): Promise<SentCharge> => {
        if (!(await lastLook(attempt.id))) return { attempt, outcome: undefined };
        const outcome = await callProvider(() =>
          provider.charge({
            idempotencyKey: attempt.idempotencyKey,
            reference: attempt.id,
            amount: attempt.amount,
            providerCustomerId: attempt.providerCustomerId!,
            providerMethodId: attempt.providerMethodId!,
            description: attempt.description,
          }),
        );
        return { attempt, outcome };
      });
    }),
  );
  return sent.flat();
}

/** One statement for all the charges that are about to be sent at this moment, instead of one each. */
function coalesceLastLooks(em: EntityManager, from: readonly AttemptState[]): (attemptId: string) => Promise<boolean> {
  let waiting: string[] = [];
  let look: Promise<Set<string>> | undefined;
  return async (attemptId) => {
    waiting.push(attemptId);
    look ??= Promise.resolve().then(() => {
      const ids = waiting;
      waiting = [];
      look = undefined;
      return markSent(em.fork(), ids, from);
    });
    return (await look).has(attemptId);
  };
}
