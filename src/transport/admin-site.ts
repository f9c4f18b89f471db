import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { extname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { sendError, sendJson } from './http-answer.ts';
import { httpMethodNotAllowed, pathNotFound } from './refusals.ts';

export interface AdminSiteOptions {
  /** The built panel: index.html and assets/. */
  readonly dir: string;
  /** Where operators sign in: an OpenID provider that browsers may call (CORS). */
  readonly oidc: { readonly issuer: string; readonly clientId: string; readonly scope: string };
  /** IANA id: in whose days the panel tells dates. */
  readonly timeZone: string;
  /** The Auth double's address, where play money is all there is. */
  readonly sandboxAuthUrl: string | undefined;
}

/** Answers what is under /admin and returns true; false leaves the request to others. */
export type AdminSite = (req: IncomingMessage, res: ServerResponse, path: string) => boolean;

interface StaticFile {
  readonly type: string;
  readonly bytes: Buffer;
  readonly gzipped: Buffer;
}

const types: Readonly<Record<string, string>> = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.woff2': 'font/woff2',
};
const nonceBytes = 16;
/** What the built page has where the nonce of an answer belongs. */
const noncePlace = '__NONCE__';
/** The names of assets carry a hash of their content. */
const assetCaching = 'public, max-age=31536000, immutable';

/** Reads the built panel into memory. Throws when there is none. */
export function createAdminSite(options: AdminSiteOptions): AdminSite {
  const files = readFiles(options.dir);
  const page = files.get('index.html')?.bytes.toString();
  if (page === undefined) throw new Error(`the admin panel is not built: ${options.dir} has no index.html`);
  const { oidc, timeZone, sandboxAuthUrl } = options;
  const config = JSON.stringify({ oidc, timeZone, sandboxAuthUrl: sandboxAuthUrl ?? null });
  const callable = [oidc.issuer, ...(sandboxAuthUrl === undefined ? [] : [sandboxAuthUrl])];
  const connect = ["'self'", ...new Set(callable.map((url) => new URL(url).origin))].join(' ');

  return (req, res, path) => {
    if (path !== '/admin' && !path.startsWith('/admin/')) return false;
    if (req.method !== 'GET' && req.method !== 'HEAD') {
      res.setHeader('allow', 'GET, HEAD');
      sendError(res, httpMethodNotAllowed(), undefined);
    } else if (path === '/admin') {
      res.writeHead(308, { location: '/admin/' }).end();
    } else if (path === '/admin/config.json') {
      sendJson(res, 200, config);
    } else if (path.startsWith('/admin/assets/')) {
      const file = files.get(path.slice('/admin/'.length));
      if (file === undefined) sendError(res, pathNotFound(), undefined);
      else sendAsset(req, res, file);
    } else {
      // Every other path is the panel's own: a page that is opened by its address.
      const nonce = randomBytes(nonceBytes).toString('base64');
      res.setHeader('content-security-policy', policy(nonce, connect));
      res.setHeader('content-type', types['.html']!);
      res.end(page.replaceAll(noncePlace, nonce));
    }
    return true;
  };
}

/** The component library writes a few style elements; nothing else inline is allowed, and no inline script at all. */
function policy(nonce: string, connect: string): string {
  return [
    "default-src 'none'",
    "script-src 'self'",
    `style-src 'self' 'nonce-${nonce}'`,
    "img-src 'self' data:",
    "font-src 'self'",
    `connect-src ${connect}`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ');
}

function sendAsset(req: IncomingMessage, res: ServerResponse, { type, bytes, gzipped }: StaticFile): void {
  res.setHeader('content-type', type);
  res.setHeader('cache-control', assetCaching);
  res.setHeader('vary', 'accept-encoding');
  if (!/\bgzip\b/.test(String(req.headers['accept-encoding'] ?? ''))) return void res.end(bytes);
  res.setHeader('content-encoding', 'gzip');
  res.end(gzipped);
}

function readFiles(dir: string): Map<string, StaticFile> {
  const files = new Map<string, StaticFile>();
  for (const name of listFiles(dir)) {
    const type = types[extname(name)];
    if (type === undefined) continue;
    const bytes = readFileSync(join(dir, name));
    files.set(name, { type, bytes, gzipped: gzipSync(bytes) });
  }
  return files;
}

function listFiles(dir: string): string[] {
  try {
    return readdirSync(dir, { recursive: true, encoding: 'utf8' });
  } catch {
    return [];
  }
}
