import type { AttemptRow } from '../payments/attempt-rows.ts';
import type { PaymentsContext } from '../payments/providers.ts';
import { sendCharges } from '../payments/send-charges.ts';
import { settlePayments } from '../subscriptions/settle-payment.ts';
import type { SubscriptionsContext } from '../subscriptions/subscription-rows.ts';
import { claimDue } from './claim-due.ts';

/** Batches that one replica works off side by side; four were no faster than two (design/6-benchmarks.md). */
export const renewalLanes = 2;

/**
 * Renews one batch: claim, charge, settle; two short transactions with the provider's calls in between, outside of any.
 * Gives how many subscriptions were claimed; a process that dies anywhere in it leaves rows that the sweeper finishes.
 */
export async function renewDue(ctx: SubscriptionsContext & PaymentsContext): Promise<number> {
  const attempts = await claimInTurn(ctx);
  if (attempts.length === 0) return 0;
  const sent = await sendCharges(ctx, attempts);
  const settlements = sent.flatMap(({ attempt, outcome }) => (outcome ? [{ attemptId: attempt.id, outcome }] : []));
  const results = await settlePayments(ctx, settlements);
  ctx.log.info({ claimed: attempts.length, ...countBy(results) }, 'renewed a batch');
  return attempts.length;
}

let lastClaim: Promise<unknown> = Promise.resolve();

/**
 * One claim at a time in this process: a lane that found the claim's lock taken by its neighbour would sleep until the
 * next tick. Another replica's claim is not waited for.
 */
function claimInTurn(ctx: SubscriptionsContext & PaymentsContext): Promise<AttemptRow[]> {
  const claim = lastClaim.then(() => claimDue(ctx));
  lastClaim = claim.catch(() => undefined);
  return claim;
}

function countBy(results: readonly string[]): Record<string, number> {
  return Object.fromEntries(
    [...Map.groupBy(results, (result) => result)].map(([result, { length }]) => [result, length]),
  );
}
