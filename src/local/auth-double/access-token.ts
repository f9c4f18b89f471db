import { randomUUID, sign, verify } from 'node:crypto';
import { inStoreTransaction, type AuthStore } from './auth-store.ts';
import type { SigningKey } from './signing-key.ts';
import { userRights } from './user-rights.ts';

export const issuer = 'cinema-auth';
export const audience = 'cinema-billing';

export const lifetimeDefaultS = 15 * 60;
export const lifetimeMaxS = 60 * 60;

export interface TokenRequest {
  /** A viewer's user id; a name where the token is an operator's or a service's. */
  readonly sub: string;
  /** Makes an operator's token. */
  readonly role?: string;
  /** A viewer's address, as claimed. */
  readonly email?: string;
  /** Makes a service's token: scopes separated by single blanks. */
  readonly scope?: string;
  /** Seconds, 1 to `lifetimeMaxS`; 15 minutes when left out. */
  readonly lifetimeS?: number;
}

export interface IssuedToken {
  readonly token: string;
  /** ISO instant, exclusive. */
  readonly expires_at: string;
}

export type TokenState =
  | { readonly active: true }
  | { readonly active: false; readonly reason: 'malformed' | 'bad signature' | 'expired' | 'unknown' | 'revoked' };

/**
 * Issues an access token (RFC 9068). A viewer's token carries the features they may use now and lives no longer than
 * the earliest of their running leases, so that it never promises what is no right any more.
 */
export function issueToken(store: AuthStore, key: SigningKey, request: TokenRequest, nowMs: number): IssuedToken {
  const issuedAtS = Math.floor(nowMs / 1_000);
  let expiresAtS = issuedAtS + (request.lifetimeS ?? lifetimeDefaultS);
  const jti = randomUUID();
  // Rights are read and the token is noted in one transaction: a change of rights comes wholly before this token, or
  // after it and revokes it. No comparison of clocks decides that.
  return inStoreTransaction(store, () => {
    const isViewer = request.role === undefined && request.scope === undefined;
    const rights = isViewer ? userRights(store, request.sub, nowMs) : undefined;
    for (const grant of rights?.grants ?? []) {
      const leaseEndMs = Date.parse(grant.access_until);
      if (leaseEndMs > nowMs) expiresAtS = Math.min(expiresAtS, Math.floor(leaseEndMs / 1_000));
    }
    store.prepare('delete from access_token where expires_at <= ?').run(nowMs);
    store
      .prepare('insert into access_token (jti, user_id, expires_at) values (?, ?, ?)')
      .run(jti, request.sub, expiresAtS * 1_000);
    const claims = {
      iss: issuer,
      aud: audience,
      sub: request.sub,
      jti,
      iat: issuedAtS,
      exp: expiresAtS,
      ...(request.role !== undefined && { role: request.role }),
      ...(request.scope !== undefined && { scope: request.scope }),
      ...(request.email !== undefined && { email: request.email }),
      ...(rights && { features: rights.features }),
    };
    return { token: encode(key, claims), expires_at: new Date(expiresAtS * 1_000).toISOString() };
  });
}

/** Whether a token is still good here and now, and if not, why. */
export function checkToken(store: AuthStore, key: SigningKey, token: string, nowMs: number): TokenState {
  const [header, payload, signature, ...rest] = token.split('.');
  if (!header || !payload || !signature || rest.length > 0) return { active: false, reason: 'malformed' };
  if (!verify('RSA-SHA256', Buffer.from(`${header}.${payload}`), key.publicKey, Buffer.from(signature, 'base64url'))) {
    return { active: false, reason: 'bad signature' };
  }
  // What carries our signature was written by `encode`.
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as { jti: string; exp: number };
  if (claims.exp * 1_000 <= nowMs) return { active: false, reason: 'expired' };
  const row = store.prepare('select revoked_at from access_token where jti = ?').get(claims.jti);
  if (!row) return { active: false, reason: 'unknown' };
  return row['revoked_at'] === null ? { active: true } : { active: false, reason: 'revoked' };
}

/** A JWT of these claims; `typ` says which kind of token it is. */
export function encode(key: SigningKey, claims: object, typ = 'at+jwt'): string {
  const signed = `${base64urlJson({ alg: 'RS256', typ, kid: key.kid })}.${base64urlJson(claims)}`;
  return `${signed}.${sign('RSA-SHA256', Buffer.from(signed), key.privateKey).toString('base64url')}`;
}

function base64urlJson(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}
