import { createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-web';
import { SubscriptionService } from '@cinema-billing/gen/billing/v1/subscription_service_pb.ts';

/** What the Auth double knows of a viewer; its own words. */
export interface AuthRights {
  readonly version: number;
  readonly grants: readonly { readonly plan_code: string; readonly access_until: string; readonly in_grace: boolean }[];
  readonly features: readonly string[];
  readonly tokens_revoked_before: string | null;
}

const viewerKey = 'billing.sandbox-viewer';
/** Tokens of the double live 15 minutes or, beside a lease that ends, less: one is asked for per call. */
const callTimeoutMs = 15_000;

/** The demo viewer of this tab; the trip to the payment page does not change who it is. */
export function currentViewer(): string {
  const known = sessionStorage.getItem(viewerKey);
  return known ?? newViewer();
}

export function newViewer(): string {
  const viewer = crypto.randomUUID();
  sessionStorage.setItem(viewerKey, viewer);
  return viewer;
}

/** The viewer's own calls, as a cinema's client makes them. */
export function viewerClient(authUrl: string, viewer: string) {
  const transport = createConnectTransport({
    baseUrl: location.origin,
    defaultTimeoutMs: callTimeoutMs,
    interceptors: [
      (next) => async (request) => {
        const response = await fetch(`${authUrl}/tokens`, { method: 'POST', body: JSON.stringify({ sub: viewer }) });
        const { token } = (await response.json()) as { token: string };
        request.header.set('authorization', `Bearer ${token}`);
        return next(request);
      },
    ],
  });
  return createClient(SubscriptionService, transport);
}

export async function authRights(authUrl: string, viewer: string): Promise<AuthRights> {
  const response = await fetch(`${authUrl}/users/${viewer}`);
  return (await response.json()) as AuthRights;
}
