import type { Actor, OperatorRole } from './actor.ts';

const uuidForm = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
/** Names of operators and services: printable, no blanks, so that they stand in logs and audit rows as they are. */
const nameForm = /^[!-~]{1,128}$/;
/** RFC 6749, section 3.3. */
const scopeForm = /^[!#-[\]-~]{1,128}$/;
const scopesMax = 64;
/** As in Subscribe's own field. */
const emailForm = /^[^@\s]{1,64}@[^@\s]{1,189}$/;

const operatorRoles: ReadonlySet<unknown> = new Set<OperatorRole>(['read_only', 'support', 'admin']);

/**
 * Reads who a token speaks for. `role` makes an operator, `scope` a service, neither a customer; both is refused. Throws
 * an Error that says which claim is wrong, for the log.
 */
export function readActor(claims: Readonly<Record<string, unknown>>): Actor {
  if (Object.hasOwn(claims, '__proto__')) throw new Error('a claim is named __proto__');
  const sub = claims['sub'];
  if (typeof sub !== 'string') throw new Error('sub is not a string');
  const isOperator = Object.hasOwn(claims, 'role');
  const isService = Object.hasOwn(claims, 'scope');
  if (isOperator && isService) throw new Error('both role and scope');
  if (isOperator) return { kind: 'operator', id: readName(sub), role: readRole(claims['role']) };
  if (isService) return { kind: 'service', id: readName(sub), scopes: readScopes(claims['scope']) };
  if (!uuidForm.test(sub)) throw new Error('sub is not a UUID');
  const email = readEmail(claims);
  return { kind: 'customer', id: sub.toLowerCase(), ...(email !== undefined && { email }) };
}

/** An address is a convenience: one that does not look like one, or that Auth has not verified, is as good as none. */
function readEmail({ email, email_verified: isVerified }: Readonly<Record<string, unknown>>): string | undefined {
  return typeof email === 'string' && emailForm.test(email) && isVerified !== false ? email : undefined;
}

function readName(sub: string): string {
  if (!nameForm.test(sub)) throw new Error('sub is not a name');
  return sub;
}

function readRole(role: unknown): OperatorRole {
  if (!operatorRoles.has(role)) throw new Error('role is not one of ours');
  return role as OperatorRole;
}

function readScopes(scope: unknown): string[] {
  if (typeof scope !== 'string') throw new Error('scope is not a string');
  const scopes = scope.split(' ');
  if (scopes.length > scopesMax || !scopes.every((one) => scopeForm.test(one))) throw new Error('scope is malformed');
  return scopes;
}
