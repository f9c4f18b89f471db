import type { IncomingMessage, ServerResponse } from 'node:http';
import { BillingError } from '../lib/billing-error.ts';

/** What browsers are told, and which pages may call. */
export interface BrowserRules {
  /**
   * Sets the headers of every answer. Returns true when the request was a question before a call (a CORS preflight),
   * which is answered then. Throws ORIGIN_NOT_ALLOWED (forbidden) for a page that is neither ours nor configured.
   */
  apply(req: IncomingMessage, res: ServerResponse): boolean;
}

const methods = 'GET, POST';
/** What a Connect or gRPC-Web client sends beside the headers that need no leave. */
const requestHeaders = [
  'authorization',
  'content-type',
  'connect-protocol-version',
  'connect-timeout-ms',
  'grpc-timeout',
  'x-grpc-web',
  'x-user-agent',
  'x-request-id',
  'traceparent',
].join(', ');
const answerHeaders = ['grpc-status', 'grpc-message', 'grpc-status-details-bin', 'x-request-id', 'retry-after'].join(
  ', ',
);
const preflightKeptS = 7_200;
const yearS = 31_536_000;

/** `origins` may call from their pages, beside pages that this server itself serves; `tls` tells browsers to stay on it. */
export function createBrowserRules(origins: ReadonlySet<string>, tls: boolean): BrowserRules {
  return {
    apply(req, res) {
      res.setHeader('x-content-type-options', 'nosniff');
      res.setHeader('cache-control', 'no-store');
      res.setHeader('referrer-policy', 'no-referrer');
      res.setHeader('content-security-policy', "default-src 'none'; frame-ancestors 'none'");
      if (tls) res.setHeader('strict-transport-security', `max-age=${yearS}`);
      if (origins.size > 0) res.setHeader('vary', 'origin');
      const { origin } = req.headers;
      if (origin === undefined) return false;
      if (origins.has(origin)) {
        res.setHeader('access-control-allow-origin', origin);
        res.setHeader('access-control-expose-headers', answerHeaders);
      } else if (!isOwnPage(origin, req.headers.host)) {
        throw new BillingError('forbidden', 'ORIGIN_NOT_ALLOWED', 'pages of this origin may not call');
      }
      if (req.method !== 'OPTIONS' || req.headers['access-control-request-method'] === undefined) return false;
      res.setHeader('access-control-allow-methods', methods);
      res.setHeader('access-control-allow-headers', requestHeaders);
      res.setHeader('access-control-max-age', preflightKeptS);
      res.writeHead(204).end();
      return true;
    },
  };
}

/** By host and port alone: before a proxy that ends TLS, the page's scheme is not ours. */
function isOwnPage(origin: string, host: string | undefined): boolean {
  return host !== undefined && URL.canParse(origin) && new URL(origin).host === host.toLowerCase();
}
