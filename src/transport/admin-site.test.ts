import { createServer } from 'node:http';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { createAdminSite } from './admin-site.ts';

const dir = mkdtempSync(join(tmpdir(), 'admin-site-'));
mkdirSync(join(dir, 'assets'));
writeFileSync(join(dir, 'index.html'), '<meta name="csp-nonce" content="__NONCE__">');
writeFileSync(join(dir, 'assets/page-1a2b.js'), 'export {};');
writeFileSync(join(dir, 'secret.txt'), 'no page');
test.after.always(() => rmSync(dir, { recursive: true, force: true }));

const options = {
  dir,
  oidc: { issuer: 'https://sign-in.cinema/realm', clientId: 'panel', scope: 'openid' },
  timeZone: 'Europe/Moscow',
  sandboxAuthUrl: undefined,
};

async function listen(): Promise<{ get: (path: string, init?: RequestInit) => Promise<Response>; close: () => void }> {
  const site = createAdminSite(options);
  const server = createServer((req, res) => {
    if (!site(req, res, req.url!.split('?')[0]!)) res.writeHead(418).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    get: (path, init) => fetch(base + path, { redirect: 'manual', ...init }),
    close: () => server.close(),
  };
}

test('every address of the panel gives the page, each time with a nonce of its own and no inline script', async (t) => {
  const { get, close } = await listen();
  const nonces = new Set<string>();
  for (const path of ['/admin/', '/admin/users/7?queue=all', '/admin/../admin/x', '/admin/secret.txt']) {
    const response = await get(path);
    const policy = response.headers.get('content-security-policy')!;
    const nonce = /style-src 'self' 'nonce-([^']+)'/.exec(policy)![1]!;
    t.is(await response.text(), `<meta name="csp-nonce" content="${nonce}">`);
    t.regex(policy, /script-src 'self';/);
    t.regex(policy, /connect-src 'self' https:\/\/sign-in\.cinema;/);
    t.regex(policy, /frame-ancestors 'none'/);
    t.notRegex(policy, /unsafe/);
    nonces.add(nonce);
  }
  t.is(nonces.size, 4);
  close();
});

test('assets are kept for a year and gzipped for who takes it; an unknown one is 404, never the page', async (t) => {
  const { get, close } = await listen();
  const asset = await get('/admin/assets/page-1a2b.js', { headers: { 'accept-encoding': 'gzip' } });
  t.is(await asset.text(), 'export {};');
  t.is(asset.headers.get('content-encoding'), 'gzip');
  t.is(asset.headers.get('cache-control'), 'public, max-age=31536000, immutable');
  const plain = await get('/admin/assets/page-1a2b.js', { headers: { 'accept-encoding': 'identity' } });
  t.is(plain.headers.get('content-encoding'), null);
  t.is((await get('/admin/assets/page-9.js')).status, 404);
  t.is((await get('/admin/assets/..%2fsecret.txt')).status, 404);
  close();
});

test('only /admin is the panel’s; it is read, never written to', async (t) => {
  const { get, close } = await listen();
  t.is((await get('/administrator')).status, 418);
  t.is((await get('/admin')).headers.get('location'), '/admin/');
  t.is((await get('/admin/', { method: 'POST' })).status, 405);
  t.deepEqual(await (await get('/admin/config.json')).json(), {
    oidc: options.oidc,
    timeZone: 'Europe/Moscow',
    sandboxAuthUrl: null,
  });
  close();
});

test('a panel that was not built is said so at the start', (t) => {
  t.throws(() => createAdminSite({ ...options, dir: join(dir, 'nothing') }), { message: /is not built/ });
});
