import { BillingError } from '../lib/billing-error.ts';
import type { Actor, OperatorRole } from './actor.ts';

/** Who may call an RPC, as its contract declares it. A caller needs one of what is listed. */
export interface AccessRule {
  /** Anybody, without a token. */
  readonly public: boolean;
  /** A viewer, for what is their own. */
  readonly customer: boolean;
  /** A service whose token carries one of these. */
  readonly serviceScopes: readonly string[];
  /** An operator with at least this role; undefined for none. */
  readonly operatorRole: OperatorRole | undefined;
}

const roleRank: Record<OperatorRole, number> = { read_only: 1, support: 2, admin: 3 };

/**
 * Returns when the actor may call an RPC with this rule. Throws TOKEN_MISSING (unauthenticated) when there is no actor
 * and one is needed, PERMISSION_DENIED (forbidden) when the actor is not among those that the rule lists.
 */
export function mayCall(actor: Actor | undefined, rule: AccessRule): void {
  if (rule.public) return;
  if (actor === undefined) throw new BillingError('unauthenticated', 'TOKEN_MISSING', 'a token is required');
  if (!isListed(actor, rule)) {
    throw new BillingError('forbidden', 'PERMISSION_DENIED', 'the token does not allow this call');
  }
}

function isListed(actor: Actor, rule: AccessRule): boolean {
  switch (actor.kind) {
    case 'customer':
      return rule.customer;
    case 'service':
      return rule.serviceScopes.some((scope) => actor.scopes.includes(scope));
    case 'operator':
      return rule.operatorRole !== undefined && roleRank[actor.role] >= roleRank[rule.operatorRole];
    case 'provider':
    case 'system':
      return false;
  }
}

/**
 * Which viewer a call is about, as a lower-case UUID: a customer is always meant themselves (another id throws
 * USER_NOT_YOURS), a service and an operator name one (none throws USER_ID_REQUIRED).
 */
export function targetUserId(actor: Actor, requestedUserId: string): string {
  const requested = requestedUserId.toLowerCase();
  switch (actor.kind) {
    case 'customer':
      if (requested !== '' && requested !== actor.id) {
        throw new BillingError('forbidden', 'USER_NOT_YOURS', 'a viewer may name only themselves as user_id');
      }
      return actor.id;
    case 'service':
    case 'operator':
      if (requested === '') {
        throw new BillingError('invalid', 'USER_ID_REQUIRED', 'user_id is required from this caller', {
          fieldViolations: [{ field: 'user_id', description: 'name the viewer whom the call is about' }],
        });
      }
      return requested;
    case 'provider':
    case 'system':
      throw new BillingError('forbidden', 'PERMISSION_DENIED', 'the caller may not act for a viewer');
  }
}
