import type { Logger } from 'pino';
import type { Actor } from '../identity/actor.ts';
import type { BillingError } from '../lib/billing-error.ts';
import type { Incoming } from './call.ts';
import { statusOfKind } from './errors.ts';

export interface CallRecord {
  /** `billing.v1.PlanService/ListPlans` */
  readonly method: string;
  readonly actor: Actor;
  readonly incoming: Incoming;
  readonly durationMs: number;
  /** What the caller got instead of an answer. */
  readonly error: BillingError | undefined;
}

/** The one line of a call. Never a token, never a message of either side. */
export function logCall(log: Logger, { method, actor, incoming, durationMs, error }: CallRecord): void {
  const line = {
    method,
    code: error === undefined ? 'OK' : statusOfKind[error.kind].name,
    reason: error?.reason,
    durationMs: Math.round(durationMs * 10) / 10,
    actor: `${actor.kind}:${actor.id}`,
    callId: incoming.callId,
    entrance: incoming.entrance,
  };
  if (error === undefined) log.info(line, 'rpc');
  else if (error.kind === 'bug') log.error({ ...line, err: error.cause }, 'rpc');
  else if (error.kind === 'unavailable') log.warn({ ...line, err: error.cause }, 'rpc');
  // The message only: enough to tell an expired token from a forged one, and never the caller's data.
  else log.info({ ...line, why: error.cause instanceof Error ? error.cause.message : undefined }, 'rpc');
}
