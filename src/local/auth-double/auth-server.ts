import { createServer, type IncomingMessage, type Server } from 'node:http';
import { checkToken, issueToken, lifetimeMaxS, type TokenRequest } from './access-token.ts';
import type { AuthStore } from './auth-store.ts';
import { keySet, type SigningKey } from './signing-key.ts';
import { listUserRights, userRights } from './user-rights.ts';

const requestTimeoutMs = 5_000;
const bodyBytesMax = 16 * 1_024;
const pageSizeMax = 500;
const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const name = /^[!-~]{1,128}$/;
const roles = ['read_only', 'support', 'admin'];
const scopes = /^[a-z._:-]{1,64}( [a-z._:-]{1,64}){0,15}$/;

interface Answer {
  readonly status: number;
  readonly body: object | string;
}

/** A caller's mistake; the text is for them. */
class BadRequest extends Error {}

/** Auth's HTTP interface: its public key, tokens, what a user may do. Not listening yet. */
export function createAuthServer(store: AuthStore, key: SigningKey, log: (line: string) => void): Server {
  return createServer({ requestTimeout: requestTimeoutMs }, async (request, response) => {
    const { status, body } = await answer(store, key, request).catch((error: unknown): Answer => {
      if (error instanceof BadRequest) return { status: 400, body: { error: error.message } };
      log(`${request.method} ${request.url}: ${String(error)}`);
      return { status: 500, body: { error: 'internal error' } };
    });
    const type = typeof body === 'string' ? 'application/x-pem-file' : 'application/json';
    response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' });
    response.end(typeof body === 'string' ? body : JSON.stringify(body));
  });
}

async function answer(store: AuthStore, key: SigningKey, request: IncomingMessage): Promise<Answer> {
  const url = new URL(request.url ?? '/', 'http://auth');
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

function listUsers(store: AuthStore, query: URLSearchParams): object {
  const after = query.get('after') ?? '';
  if (after !== '' && !uuid.test(after)) throw new BadRequest('after is not a user id');
  const users = listUserRights(store, after, pageSizeMax, Date.now());
  return { users, next_after: users.length === pageSizeMax ? users.at(-1)!.user_id : null };
}

function readTokenRequest(body: Record<string, unknown>): TokenRequest {
  const { sub, role, scope, expires_in_s: lifetimeS } = body;
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
  if (lifetimeS !== undefined && (!isWhole(lifetimeS) || lifetimeS < 1 || lifetimeS > lifetimeMaxS)) {
    throw new BadRequest(`expires_in_s is not a whole number from 1 to ${lifetimeMaxS}`);
  }
  return {
    sub,
    ...(role !== undefined && { role }),
    ...(scope !== undefined && { scope }),
    ...(lifetimeS !== undefined && { lifetimeS }),
  };
}

function isWhole(value: unknown): value is number {
  return Number.isInteger(value);
}

async function readBody(request: IncomingMessage): Promise<Record<string, unknown>> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > bodyBytesMax) throw new BadRequest(`the body is larger than ${bodyBytesMax} bytes`);
    chunks.push(chunk);
  }
  let body: unknown;
  try {
    body = JSON.parse(Buffer.concat(chunks).toString());
  } catch {
    throw new BadRequest('the body is not JSON');
  }
  if (typeof body !== 'object' || body === null) throw new BadRequest('the body is not a JSON object');
  return body as Record<string, unknown>;
}
