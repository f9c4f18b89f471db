import { BillingError } from '../lib/billing-error.ts';
import type { SandboxContext } from './advance-clock.ts';

/** How a charge is made to go, in the payment system's words. */
export type ScriptedOutcome =
  | 'by_card'
  | 'ok'
  | 'soft_decline'
  | 'hard_decline'
  | 'action_required'
  | 'charged_unanswered'
  | 'nothing_unanswered'
  | 'stored_500';

/** What is still to be played for a viewer: one entry for each charge to come; the card decides after the last. */
export interface Script {
  readonly charges: readonly { readonly outcome: ScriptedOutcome; readonly delayMs: number }[];
  /** Done to every notice about the viewer until the next script. */
  readonly webhooks: 'duplicated' | 'late' | 'lost' | null;
}

/** Says what the payment system does next for a viewer (Auth's user id). Throws OUTCOMES_NOT_SCRIPTABLE. */
export async function scriptOutcome(ctx: SandboxContext, input: { userId: string; script: Script }): Promise<void> {
  if (ctx.sandbox.script === undefined) {
    throw new BillingError('wrong-state', 'OUTCOMES_NOT_SCRIPTABLE', 'only the sandbox payment system plays scripts');
  }
  await ctx.sandbox.script(input.userId.toLowerCase(), input.script);
}
