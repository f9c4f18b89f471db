import { createServer, type IncomingMessage, type Server } from 'node:http';
import { checkToken, issueToken, lifetimeMaxS, type TokenRequest } from './access-token.ts';
import type { AuthStore } from './auth-store.ts';
import { createOidc, type Oidc, type OidcAnswer } from './oidc.ts';
import { keySet, type SigningKey } from './signing-key.ts';
import { listUserRights, userRights } from './user-rights.ts';

const requestTimeoutMs = 5_000;
const bodyBytesMax = 16 * 1_024;
const pageSizeMax = 500;
const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const name = /^[!-~]{1,128}$/;
const roles = ['read_only', 'support', 'admin'];
const scopes = /^[a-z._:-]{1,64}( [a-z._:-]{1,64}){0,15}$/;

/** The panel is on another port of the same machine, and no page of another machine may read or ask anything. */
const panelOrigin = /^http:\/\/(127\.0\.0\.1|localhost)(:\d{1,5})?$/;

interface Answer {
  readonly status: number;
  readonly body: object | string;
  /** Of a text; a PEM file when left out. */
  readonly type?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A caller's mistake; the text is for them. */
class BadRequest extends Error {}

/** Auth's HTTP interface: its public key, tokens, operators' sign-in, what a user may do. Not listening yet. */
export function createAuthServer(store: AuthStore, key: SigningKey, log: (line: string) => void): Server {
  const oidc = createOidc(store, key);
  return createServer({ requestTimeout: requestTimeoutMs }, async (request, response) => {
    const { status, body, type, headers } = await answer(store, key, oidc, request).catch((error: unknown): Answer => {
      if (error instanceof BadRequest) return { status: 400, body: { error: error.message } };
      log(`${request.method} ${request.url}: ${String(error)}`);
      return { status: 500, body: { error: 'internal error' } };
    });
    const ofText = type ?? 'application/x-pem-file';
    response.writeHead(status, {
      'content-type': typeof body === 'string' ? ofText : 'application/json',
      'cache-control': 'no-store',
      ...leaveForPanel(request),
      ...headers,
    });
    response.end(typeof body === 'string' ? body : JSON.stringify(body));
  });
}

function leaveForPanel({ headers }: IncomingMessage): Record<string, string> {
  if (!panelOrigin.test(headers.origin ?? '')) return {};
  return {
    'access-control-allow-origin': headers.origin!,
    'access-control-allow-headers': 'content-type',
    vary: 'origin',
  };
}

async function answer(store: AuthStore, key: SigningKey, oidc: Oidc, request: IncomingMessage): Promise<Answer> {
  const url = new URL(request.url ?? '/', 'http://auth');
  if (request.method === 'OPTIONS') return { status: 204, body: '' };
  const signIn = await answerSignIn(oidc, request, url);
  if (signIn !== undefined) return { type: 'text/html; charset=utf-8', ...signIn };
  switch (`${request.method} ${url.pathname}`) {
    case 'GET /readyz':
      return { status: 200, body: { ready: true } };
    case 'GET /public-key.pem':
      return { status: 200, body: key.publicKeyPem };
    case 'GET /.well-known/jwks.json':
      return { status: 200, body: keySet(key) };
    case 'GET /users':
      return { status: 200, body: listUsers(store, url.searchParams) };
    case 'POST /tokens':
      return { status: 201, body: issueToken(store, key, readTokenRequest(await readBody(request)), Date.now()) };
    case 'POST /tokens/check': {
      const { token } = await readBody(request);
      if (typeof token !== 'string') throw new BadRequest('token is missing');
      return { status: 200, body: checkToken(store, key, token, Date.now()) };
    }
  }
  const userId = request.method === 'GET' ? /^\/users\/([^/]+)$/.exec(url.pathname)?.[1] : undefined;
  if (userId === undefined) return { status: 404, body: { error: 'not found' } };
  if (!uuid.test(userId)) throw new BadRequest('the user id is not a UUID');
  return { status: 200, body: userRights(store, userId, Date.now()) };
}

async function answerSignIn(oidc: Oidc, request: IncomingMessage, url: URL): Promise<OidcAnswer | undefined> {
  const issuer = `http://127.0.0.1:${request.socket.localPort}`;
  switch (`${request.method} ${url.pathname}`) {
    case 'GET /.well-known/openid-configuration':
      return oidc.discovery(issuer);
    case 'GET /authorize':
      return oidc.authorize(
        url.searchParams,
        /(?:^|; )sid=([\w-]{43})/.exec(request.headers.cookie ?? '')?.[1],
        issuer,
      );
    case 'POST /authorize':
      return oidc.choose(new URLSearchParams(await readText(request)), issuer);
    case 'POST /token':
      return oidc.token(new URLSearchParams(await readText(request)), issuer);
    default:
      return undefined;
  }
}

function listUsers(store: AuthStore, query: URLSearchParams): object {
  const after = query.get('after') ?? '';
  if (after !== '' && !uuid.test(after)) throw new BadRequest('after is not a user id');
  const users = listUserRights(store, after, pageSizeMax, Date.now());
  return { users, next_after: users.length === pageSizeMax ? users.at(-1)!.user_id : null };
}

function readTokenRequest(body: Record<string, unknown>): TokenRequest {
  const { sub, role, scope, email, expires_in_s: lifetimeS } = body;
  const isViewer = role === undefined && scope === undefined;
  if (typeof sub !== 'string' || !(isViewer ? uuid : name).test(sub)) {
    throw new BadRequest(isViewer ? 'sub is not a UUID in lower case' : 'sub is not a name');
  }
  if (role !== undefined && scope !== undefined) throw new BadRequest('a token has a role or a scope, not both');
  if (role !== undefined && (typeof role !== 'string' || !roles.includes(role))) {
    throw new BadRequest(`role is not one of ${roles.join(', ')}`);
  }
  if (scope !== undefined && (typeof scope !== 'string' || !scopes.test(scope))) {
    throw new BadRequest('scope is not a list of scopes separated by single blanks');
  }
  if (email !== undefined && (!isViewer || typeof email !== 'string')) {
    throw new BadRequest("email is not a viewer's address");
  }
  if (lifetimeS !== undefined && (!isWhole(lifetimeS) || lifetimeS < 1 || lifetimeS > lifetimeMaxS)) {
    throw new BadRequest(`expires_in_s is not a whole number from 1 to ${lifetimeMaxS}`);
  }
  return {
    sub,
    ...(role !== undefined && { role }),
    ...(scope !== undefined && { scope }),
    ...(email !== undefined && { email }),
    ...(lifetimeS !== undefined && { lifetimeS }),
  };
}

function isWhole(value: unknown): value is number {
  return Number.isInteger(value);
}

async function readText(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > bodyBytesMax) throw new BadRequest(`the body is larger than ${bodyBytesMax} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

async function readBody(request: IncomingMessage): Promise<Record<string, unknown>> {
  const text = await readText(request);
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    throw new BadRequest('the body is not JSON');
  }
  if (typeof body !== 'object' || body === null) throw new BadRequest('the body is not a JSON object');
  return body as Record<string, unknown>;
}
