import { createHash, randomBytes } from 'node:crypto';
import { encode, issueToken } from './access-token.ts';
import type { AuthStore } from './auth-store.ts';
import { demoOperators, signInPage, type DemoOperator } from './sign-in-page.ts';
import type { SigningKey } from './signing-key.ts';

/** The panel's name at Auth; a public client, so it has no secret. */
export const adminClientId = 'cinema-billing-admin';

const codeLifetimeMs = 60_000;
const codesMax = 1_000;
const sessionsMax = 1_000;
const operatorTokenS = 60 * 60;
/** RFC 8252, section 7.3: a client on the same machine may listen on any port. */
const redirectForm = /^http:\/\/(127\.0\.0\.1|localhost)(:\d{1,5})?\/admin\/signed-in$/;
const challengeForm = /^[\w-]{43}$/;

export interface OidcAnswer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** A text is a page, an object JSON. */
  readonly body: string | object;
}

interface Granted {
  readonly operator: DemoOperator;
  readonly redirectUri: string;
  readonly challenge: string;
  readonly nonce: string | undefined;
  readonly expiresAtMs: number;
}

/** OpenID Connect for operators: authorization code with PKCE (RFC 7636, S256 only). Codes and sessions are in memory. */
export interface Oidc {
  discovery(issuer: string): OidcAnswer;
  /** Shows the sign-in page, or goes straight back for a browser that has signed in (`sid` from its cookie). */
  authorize(query: URLSearchParams, sid: string | undefined, issuer: string): OidcAnswer;
  /** The page's form: an operator was chosen. */
  choose(form: URLSearchParams, issuer: string): OidcAnswer;
  /** Gives tokens for a code, once. */
  token(form: URLSearchParams, issuer: string): OidcAnswer;
}

export function createOidc(store: AuthStore, key: SigningKey): Oidc {
  const codes = new Map<string, Granted>();
  const sessions = new Map<string, DemoOperator>();

  function goBack(query: URLSearchParams, operator: DemoOperator, issuer: string, cookie?: string): OidcAnswer {
    const code = randomBytes(32).toString('base64url');
    if (codes.size >= codesMax) codes.delete(codes.keys().next().value!);
    codes.set(code, {
      operator,
      redirectUri: query.get('redirect_uri')!,
      challenge: query.get('code_challenge')!,
      nonce: query.get('nonce') ?? undefined,
      expiresAtMs: Date.now() + codeLifetimeMs,
    });
    const target = new URL(query.get('redirect_uri')!);
    target.searchParams.set('code', code);
    target.searchParams.set('iss', issuer);
    const state = query.get('state');
    if (state !== null) target.searchParams.set('state', state);
    return { status: 303, headers: { location: target.href, ...(cookie && { 'set-cookie': cookie }) }, body: '' };
  }

  return {
    discovery: (issuer) => ({ status: 200, body: discoveryDocument(issuer) }),
    authorize(query, sid, issuer) {
      const problem = problemOf(query);
      if (problem !== undefined) return { status: 400, body: { error: 'invalid_request', error_description: problem } };
      const known = sid === undefined ? undefined : sessions.get(sid);
      if (known !== undefined && query.get('prompt') !== 'login') return goBack(query, known, issuer);
      return page(query);
    },
    choose(form, issuer) {
      const operator = demoOperators.find(({ sub }) => sub === form.get('operator'));
      const problem = problemOf(form) ?? (operator ? undefined : 'no such operator');
      if (problem !== undefined) return { status: 400, body: { error: 'invalid_request', error_description: problem } };
      const sid = randomBytes(32).toString('base64url');
      if (sessions.size >= sessionsMax) sessions.delete(sessions.keys().next().value!);
      sessions.set(sid, operator!);
      return goBack(form, operator!, issuer, `sid=${sid}; HttpOnly; SameSite=Lax; Path=/authorize`);
    },
    token(form, issuer) {
      const code = form.get('code') ?? '';
      const granted = codes.get(code);
      codes.delete(code);
      const verifier = createHash('sha256')
        .update(form.get('code_verifier') ?? '')
        .digest('base64url');
      const isRight =
        form.get('grant_type') === 'authorization_code' &&
        form.get('client_id') === adminClientId &&
        granted?.redirectUri === form.get('redirect_uri') &&
        granted?.challenge === verifier &&
        granted.expiresAtMs > Date.now();
      if (!isRight) return { status: 400, body: { error: 'invalid_grant' } };
      const { operator, nonce } = granted;
      return { status: 200, body: tokens(store, key, operator, nonce, issuer) };
    },
  };
}

function tokens(store: AuthStore, key: SigningKey, operator: DemoOperator, nonce: string | undefined, issuer: string) {
  const { sub, name, role } = operator;
  const nowMs = Date.now();
  const { token } = issueToken(store, key, { sub, role, lifetimeS: operatorTokenS }, nowMs);
  const iat = Math.floor(nowMs / 1_000);
  const claims = { iss: issuer, aud: adminClientId, sub, name, role, iat, exp: iat + operatorTokenS };
  return {
    access_token: token,
    token_type: 'Bearer',
    expires_in: operatorTokenS,
    id_token: encode(key, { ...claims, ...(nonce !== undefined && { nonce }) }, 'JWT'),
  };
}

function page(query: URLSearchParams): OidcAnswer {
  const origin = new URL(query.get('redirect_uri')!).origin;
  const csp = `default-src 'none'; style-src 'unsafe-inline'; form-action 'self' ${origin}; frame-ancestors 'none'`;
  const hidden = Object.fromEntries([...query].filter(([name]) => name !== 'prompt'));
  return { status: 200, headers: { 'content-security-policy': csp }, body: signInPage(hidden) };
}

/** What is wrong with a request for a code. A redirect to an address that is not the panel's is never made. */
function problemOf(query: URLSearchParams): string | undefined {
  if (query.get('client_id') !== adminClientId) return 'client_id is not known';
  if (!redirectForm.test(query.get('redirect_uri') ?? '')) return 'redirect_uri is not the panel’s';
  if (query.get('response_type') !== 'code') return 'response_type is not code';
  if (query.get('code_challenge_method') !== 'S256') return 'code_challenge_method is not S256';
  if (!challengeForm.test(query.get('code_challenge') ?? '')) return 'code_challenge is missing';
  return undefined;
}

function discoveryDocument(issuer: string): object {
  return {
    issuer,
    authorization_endpoint: `${issuer}/authorize`,
    token_endpoint: `${issuer}/token`,
    jwks_uri: `${issuer}/.well-known/jwks.json`,
    response_types_supported: ['code'],
    grant_types_supported: ['authorization_code'],
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: ['RS256'],
    code_challenge_methods_supported: ['S256'],
    token_endpoint_auth_methods_supported: ['none'],
    scopes_supported: ['openid', 'profile'],
    authorization_response_iss_parameter_supported: true,
  };
}
