import { generateKeyPairSync, randomUUID, sign, type KeyObject } from 'node:crypto';

export interface TestTokenOptions {
  sub?: unknown;
  /** Makes an operator's token. */
  role?: unknown;
  /** Makes a service's token: scopes with a blank between. */
  scope?: unknown;
  /** From now; 300 when left out, negative for an expired token. */
  expiresInS?: number;
  /** Further claims, over all others; undefined leaves a claim out. */
  claims?: Record<string, unknown>;
  /** Over `{ alg: 'RS256', typ: 'at+jwt' }`; undefined leaves a parameter out. */
  header?: Record<string, unknown>;
  /** Signs with another key than the issuer's. */
  privateKey?: KeyObject;
}

export interface TestIssuer {
  publicKeyPem: string;
  privateKey: KeyObject;
  issuer: string;
  audience: string;
  /** A token signed with RS256 by node:crypto alone, so that the tests do not check jose with jose. */
  token(options?: TestTokenOptions): string;
}

/** An Auth for tests, with a key pair of its own. */
export function createTestIssuer(): TestIssuer {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const issuer = 'https://auth.test';
  const audience = 'billing';
  return {
    publicKeyPem: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    privateKey,
    issuer,
    audience,
    token(options = {}) {
      const nowS = Math.floor(Date.now() / 1000);
      const expiresInS = options.expiresInS ?? 300;
      const header = { alg: 'RS256', typ: 'at+jwt', ...options.header };
      const claims = {
        iss: issuer,
        aud: audience,
        sub: 'sub' in options ? options.sub : randomUUID(),
        iat: expiresInS > 0 ? nowS : nowS + expiresInS - 300,
        exp: nowS + expiresInS,
        ...('role' in options ? { role: options.role } : {}),
        ...('scope' in options ? { scope: options.scope } : {}),
        ...options.claims,
      };
      return signJwt(JSON.stringify(header), JSON.stringify(claims), options.privateKey ?? privateKey);
    },
  };
}

/** Signs exactly these two texts with RS256. */
export function signJwt(headerJson: string, payloadJson: string, privateKey: KeyObject): string {
  const input = `${base64url(headerJson)}.${base64url(payloadJson)}`;
  return `${input}.${sign('sha256', Buffer.from(input), privateKey).toString('base64url')}`;
}

function base64url(text: string): string {
  return Buffer.from(text).toString('base64url');
}
