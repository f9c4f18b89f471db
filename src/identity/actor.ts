/** What an operator may do; each role includes the ones before it. */
export type OperatorRole = 'read_only' | 'support' | 'admin';

/** Who acts. `id` is a user id (UUID) for customers, a name for everything else. */
export type Actor =
  /** `email` where the token names one. */
  | { readonly kind: 'customer'; readonly id: string; readonly email?: string }
  | { readonly kind: 'operator'; readonly id: string; readonly role: OperatorRole }
  | { readonly kind: 'service'; readonly id: string; readonly scopes: readonly string[] }
  | { readonly kind: 'provider'; readonly id: string }
  | { readonly kind: 'system'; readonly id: string };

/** Nobody in particular: the caller of a public RPC without a token. */
export const anonymous: Actor = { kind: 'system', id: 'anonymous' };
