import * as oauth from 'oauth4webapi';

export interface PanelConfig {
  readonly oidc: { readonly issuer: string; readonly clientId: string; readonly scope: string };
  /** IANA id, in whose days dates are told. */
  readonly timeZone: string;
  /** Only where all money is play money. */
  readonly sandboxAuthUrl: string | null;
}

export type Role = 'read_only' | 'support' | 'admin';

/** Who is signed in. Lives in this page's memory and nowhere else. */
export interface Session {
  readonly token: string;
  readonly name: string;
  readonly role: Role;
}

/** What has to outlive the visit to the provider: no token is among it. */
interface Pending {
  readonly verifier: string;
  readonly state: string;
  readonly nonce: string;
  readonly returnTo: string;
}

const pendingKey = 'billing.sign-in';
const signedOutKey = 'billing.signed-out';
const callbackPath = '/admin/signed-in';
const roles: readonly Role[] = ['read_only', 'support', 'admin'];

let session: Session | undefined;

export const currentToken = (): string | undefined => session?.token;
export const hasSignedOut = (): boolean => sessionStorage.getItem(signedOutKey) !== null;

/** Whether a role includes another. */
export function mayActAs(role: Role, needed: Role): boolean {
  return roles.indexOf(role) >= roles.indexOf(needed);
}

export function signOut(): void {
  session = undefined;
  sessionStorage.setItem(signedOutKey, 'yes');
  location.assign('/admin/');
}

/** Leaves for the provider; `choose` asks again who it is. Comes back to the page that is open now. */
export async function beginSignIn({ oidc }: PanelConfig, choose: boolean): Promise<never> {
  const server = await discover(oidc.issuer);
  const verifier = oauth.generateRandomCodeVerifier();
  const here = location.pathname + location.search;
  const pending: Pending = {
    verifier,
    state: oauth.generateRandomState(),
    nonce: oauth.generateRandomNonce(),
    returnTo: location.pathname === callbackPath ? '/admin/' : here,
  };
  sessionStorage.setItem(pendingKey, JSON.stringify(pending));
  const target = new URL(server.authorization_endpoint!);
  target.search = new URLSearchParams({
    client_id: oidc.clientId,
    redirect_uri: location.origin + callbackPath,
    response_type: 'code',
    scope: oidc.scope,
    state: pending.state,
    nonce: pending.nonce,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    ...(choose && { prompt: 'login' }),
  }).toString();
  location.assign(target);
  return new Promise<never>(() => undefined);
}

/** The session, when this page was opened by the provider's way back; the address is then the one that was left. */
export async function finishSignIn({ oidc }: PanelConfig): Promise<Session | undefined> {
  if (location.pathname !== callbackPath) return undefined;
  const stored = sessionStorage.getItem(pendingKey);
  sessionStorage.removeItem(pendingKey);
  if (stored === null) return undefined;
  const pending = JSON.parse(stored) as Pending;
  const server = await discover(oidc.issuer);
  const client: oauth.Client = { client_id: oidc.clientId };
  const parameters = oauth.validateAuthResponse(server, client, new URL(location.href), pending.state);
  const response = await oauth.authorizationCodeGrantRequest(
    server,
    client,
    oauth.None(),
    parameters,
    location.origin + callbackPath,
    pending.verifier,
    insecure(oidc.issuer),
  );
  const answer = await oauth.processAuthorizationCodeResponse(server, client, response, {
    expectedNonce: pending.nonce,
    requireIdToken: true,
  });
  const claims = oauth.getValidatedIdTokenClaims(answer)!;
  const role = roles.find((known) => known === (claims['role'] ?? roleInAccessToken(answer.access_token)));
  if (role === undefined) throw new Error('NO_ROLE');
  session = { token: answer.access_token, name: String(claims['name'] ?? claims.sub), role };
  sessionStorage.removeItem(signedOutKey);
  history.replaceState(null, '', pending.returnTo);
  return session;
}

async function discover(issuer: string): Promise<oauth.AuthorizationServer> {
  const url = new URL(issuer);
  const response = await oauth.discoveryRequest(url, insecure(issuer));
  // An issuer is compared letter by letter; the library writes a bare origin with a slash at its end.
  const server = (await response.clone().json()) as oauth.AuthorizationServer;
  return server.issuer === issuer ? server : oauth.processDiscoveryResponse(url, response);
}

/** Plain HTTP is for the double on this machine; the service refuses it as an issuer in production. */
function insecure(issuer: string) {
  return { [oauth.allowInsecureRequests]: issuer.startsWith('http:') };
}

/** Providers that put the role into the access token only. The service checks it; here it only greys out buttons. */
function roleInAccessToken(token: string): unknown {
  try {
    const payload = token.split('.')[1]!.replaceAll('-', '+').replaceAll('_', '/');
    return (JSON.parse(atob(payload)) as Record<string, unknown>)['role'];
  } catch {
    return undefined;
  }
}
