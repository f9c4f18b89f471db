import { setTimeout as pause } from 'node:timers/promises';
import { Client } from 'pg';
import { PlanService } from '@cinema-billing/gen/billing/v1/plan_service_pb.ts';
import { SubscriptionStatus } from '@cinema-billing/gen/billing/v1/subscription_pb.ts';
import { CancelEffective, SubscriptionService } from '@cinema-billing/gen/billing/v1/subscription_service_pb.ts';
import { grpcClient } from '../cli/grpc-client.ts';
import { newId } from '../lib/ids.ts';

/** Three kinds of subscription, each monthly and yearly; a year costs ten months. */
const plans = [
  {
    code: 'basic',
    name: 'Basic',
    description: 'The whole catalogue in HD, on one screen.',
    features: ['catalog.base'],
    monthlyMinor: 29_900,
  },
  {
    code: 'standard',
    name: 'Standard',
    description: 'The whole catalogue in 4K, on two screens.',
    features: ['catalog.base', 'video.uhd'],
    monthlyMinor: 59_900,
  },
  {
    code: 'premium',
    name: 'Premium',
    description: 'Everything in 4K, and premieres on the day they open.',
    features: ['catalog.base', 'catalog.premieres', 'video.uhd'],
    monthlyMinor: 99_900,
  },
] as const;

/** Viewers with a history; the ids are fixed so that a person can type them. */
const viewers = [
  { userId: '00000000-0000-4000-8000-000000000001', plan: 'standard', unit: 'month', afterwards: undefined },
  { userId: '00000000-0000-4000-8000-000000000002', plan: 'premium', unit: 'year', afterwards: 'cancel at the end' },
  { userId: '00000000-0000-4000-8000-000000000003', plan: 'basic', unit: 'month', afterwards: 'cancel now' },
] as const;

const monthsPaidOfYear = 10;
const intervalUnits = { month: 3, year: 4 } as const;
const activationMaxMs = 15_000;
const pollMs = 50;

/** Puts the demo plans on sale, once: in a database that has any plan already nothing is done. */
export async function plantPlans(databaseUrl: string): Promise<void> {
  const client = new Client({ connectionString: databaseUrl });
  // A server that is asked to stop ends the session; the query under way fails by itself.
  client.on('error', () => undefined);
  await client.connect();
  try {
    const { rowCount } = await client.query('select 1 from plan limit 1');
    if (rowCount) return;
    await client.query('begin');
    for (const { code, name, description, features, monthlyMinor } of plans) {
      const planId = newId();
      await client.query(
        `insert into plan (id, code, name, description, features, product_line, created_at)
         values ($1, $2, $3, $4, $5, 'cinema', now())`,
        [planId, code, name, description, features],
      );
      for (const [unit, amountMinor] of [
        ['month', monthlyMinor],
        ['year', monthlyMinor * monthsPaidOfYear],
      ]) {
        await client.query(
          `insert into price (id, plan_id, currency_code, amount_minor, interval_unit, interval_count, created_at)
           values ($1, $2, 'RUB', $3, $4, 1, now())`,
          [newId(), planId, amountMinor, unit],
        );
      }
    }
    await client.query('commit');
  } finally {
    await client.end();
  }
}

/** Lets the demo viewers live a little, through the public ports; whoever has a history already is left alone. */
export async function liveDemoLives(system: { grpcAddress: string; authUrl: string }): Promise<void> {
  const planClient = grpcClient(PlanService, system.grpcAddress);
  const subscriptions = grpcClient(SubscriptionService, system.grpcAddress);
  try {
    const { plans: onSale } = await planClient.listPlans({ currencyCode: 'RUB' });
    for (const viewer of viewers) {
      const token = await issueToken(system.authUrl, viewer.userId);
      const known = await subscriptions.listSubscriptions({}, { token });
      if (known.subscriptions.length > 0) continue;
      const plan = onSale.find(({ code }) => code === viewer.plan);
      const price = plan?.prices.find(({ intervalUnit }) => intervalUnit === intervalUnits[viewer.unit]);
      if (!price) continue;
      const { subscription, checkout } = await subscriptions.subscribe(
        { requestId: newId(), priceId: price.id },
        { token },
      );
      await fetch(checkout!.url, {
        method: 'POST',
        body: new URLSearchParams({ card: '4242424242424242', action: 'pay' }),
        redirect: 'manual',
      });
      const subscriptionId = subscription!.id;
      await untilActive(
        async () => (await subscriptions.getSubscription({ subscriptionId }, { token })).subscription!.status,
      );
      if (viewer.afterwards === undefined) continue;
      const effective = viewer.afterwards === 'cancel now' ? CancelEffective.NOW : CancelEffective.AT_PERIOD_END;
      await subscriptions.cancelSubscription(
        { requestId: newId(), subscriptionId, effective, reason: 'demo data' },
        { token },
      );
    }
  } finally {
    planClient.close();
    subscriptions.close();
  }
}

async function untilActive(look: () => Promise<SubscriptionStatus>): Promise<void> {
  const deadline = performance.now() + activationMaxMs;
  while ((await look()) !== SubscriptionStatus.ACTIVE) {
    if (performance.now() > deadline) throw new Error('a demo viewer has paid and did not become active');
    await pause(pollMs);
  }
}

async function issueToken(authUrl: string, sub: string): Promise<string> {
  const response = await fetch(`${authUrl}/tokens`, { method: 'POST', body: JSON.stringify({ sub }) });
  return ((await response.json()) as { token: string }).token;
}
