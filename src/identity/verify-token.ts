import { hash } from 'node:crypto';
import { jwtVerify, type JWTPayload } from 'jose';
import { BillingError } from '../lib/billing-error.ts';
import type { Actor } from './actor.ts';
import { readActor } from './token-claims.ts';
import type { TokenKeys } from './token-keys.ts';

export interface TokenVerifierOptions {
  /** Auth's public keys. */
  readonly keys: TokenKeys;
  /** The `iss` that Auth writes. */
  readonly issuer: string;
  /** The `aud` that names us; undefined only for an Auth that sets none. */
  readonly audience: string | undefined;
  /** A token that lives longer than this from `iat` to `exp` is refused. */
  readonly lifetimeMaxS: number;
}

export interface TokenVerifier {
  /** Who the token speaks for. Throws TOKEN_INVALID (unauthenticated) with one constant text whatever is wrong. */
  verify(token: string): Promise<Actor>;
}

/** A token found good: for whom, until when, and under which state of the keys. */
interface Verified {
  readonly actor: Actor;
  readonly expiresAtMs: number;
  readonly generation: number;
}

const tokenLengthMax = 8 * 1024;
const clockToleranceS = 5;
const cacheEntriesMax = 10_000;
/** Three parts of unpadded base64url: refuses JWE, padding, blanks and an empty signature before anything is parsed. */
const compactForm = /^[\w-]+\.[\w-]+\.[\w-]+$/;
/** `typ` says which kind of token it is; refresh, logout and other kinds are not for us. See the README. */
const acceptedTypes = new Set([undefined, 'jwt', 'at+jwt', 'application/at+jwt']);

/** Builds the verifier. Throws when the issuer or the audience is empty. */
export function createTokenVerifier(options: TokenVerifierOptions): TokenVerifier {
  const { keys } = options;
  if (options.issuer === '') throw new Error('the token issuer is empty');
  if (options.audience === '') throw new Error('the token audience is empty');
  const requiredClaims = ['iss', 'sub', 'exp', 'iat', ...(options.audience === undefined ? [] : ['aud'])];
  const joseOptions = {
    algorithms: ['RS256'],
    issuer: options.issuer,
    ...(options.audience === undefined ? {} : { audience: options.audience }),
    requiredClaims,
    clockTolerance: clockToleranceS,
  };
  /** Keyed by a hash, so that no token stays in memory. Oldest first. */
  const cache = new Map<string, Verified>();

  async function check(token: string): Promise<Verified> {
    if (!compactForm.test(token)) throw new Error('not a signed token in compact form');
    let generation = keys.generation;
    // Called once jose has found the algorithm to be ours; the key's number is read together with the key.
    const keyOf = async ({ kid }: { kid?: unknown }) => {
      const key = await keys.find(kid);
      if (key === undefined) throw new Error('no key with this kid');
      generation = keys.generation;
      return key;
    };
    const { payload, protectedHeader } = await jwtVerify(token, keyOf, joseOptions);
    const header: Record<string, unknown> = protectedHeader;
    if ('crit' in header || 'b64' in header) throw new Error('the header asks for an extension');
    const type = typeof header['typ'] === 'string' ? header['typ'].toLowerCase() : header['typ'];
    if (!acceptedTypes.has(type as string | undefined)) throw new Error('not an access token by its typ');
    const expiresAtMs = checkTimes(payload, options.lifetimeMaxS) * 1000;
    return { actor: readActor(payload), expiresAtMs, generation };
  }

  return {
    async verify(token) {
      // Before the hash, so that a megabyte costs nothing.
      if (token.length > tokenLengthMax) throw invalidToken(new Error('longer than 8 KiB'));
      const cacheKey = hash('sha256', token, 'base64');
      const known = cache.get(cacheKey);
      if (known !== undefined && known.expiresAtMs > Date.now() && known.generation === keys.generation) {
        return known.actor;
      }
      try {
        const fresh = await check(token);
        if (cache.size >= cacheEntriesMax) cache.delete(cache.keys().next().value!);
        cache.set(cacheKey, fresh);
        return fresh.actor;
      } catch (cause) {
        cache.delete(cacheKey);
        throw invalidToken(cause);
      }
    },
  };
}

/** The one answer to every bad token; why it is bad is for the log only. */
export function invalidToken(cause: unknown): BillingError {
  return new BillingError('unauthenticated', 'TOKEN_INVALID', 'the token is not valid', { cause });
}

/** jose has checked `exp` and `nbf` against the clock; returns `exp` in seconds. */
function checkTimes(payload: JWTPayload, lifetimeMaxS: number): number {
  const { iat, exp } = payload;
  if (typeof iat !== 'number' || typeof exp !== 'number') throw new Error('iat or exp is not a number');
  if (iat > Date.now() / 1000 + clockToleranceS) throw new Error('issued in the future');
  if (!(exp > iat && exp - iat <= lifetimeMaxS)) throw new Error('the lifetime is out of bounds');
  return exp;
}
