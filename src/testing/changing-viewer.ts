import { randomUUID } from 'node:crypto';
import type { ExecutionContext } from 'ava';
import { waitUntil } from './wait-until.ts';
import type { World } from './world.ts';

/** A viewer who pays 299.00 a month for the basic plan, and what can be seen of them from outside. */
export async function viewerWith(t: ExecutionContext, world: World, card?: string, more: { withTrial?: boolean } = {}) {
  const { userId, subscriptionId, token } = await world.subscriber(card, more);
  const { subscriptions } = world.clients();
  t.teardown(() => subscriptions.close());
  const requestOf = (priceId: string) => ({ requestId: randomUUID(), subscriptionId, priceId });
  const payments = async () =>
    (await world.paymentSystem.payments()).filter((payment) => payment.customer_reference === userId);
  return {
    userId,
    subscriptionId,
    token,
    subscriptions,
    requestOf,
    preview: (priceId: string) => subscriptions.previewPlanChange({ subscriptionId, priceId }, { token }),
    change: (priceId: string) => subscriptions.changePlan(requestOf(priceId), { token }),
    seen: async () => (await subscriptions.getSubscription({ subscriptionId }, { token })).subscription!,
    /** Kopecks that the payment system has taken and not given back, without the first payment. */
    charged: async () =>
      (await payments())
        .filter(({ kind, status }) => kind === 'off_session' && status === 'succeeded')
        .map((payment) => Number(payment.amount_minor) - Number(payment.refunded_minor)),
    statuses: async () => (await payments()).filter(({ kind }) => kind === 'off_session').map(({ status }) => status),
    history: async () =>
      (
        await world.query(`select kind from subscription_event where subscription_id = $1 order by occurred_at, id`, [
          subscriptionId,
        ])
      ).map(({ kind }) => kind),
    authSees: (version: number) =>
      waitUntil(`Auth has version ${version}`, async () => {
        const user = await world.auth.user(userId);
        return user.version === version && { features: user.features, revokedAt: user.rights_version };
      }),
  };
}
