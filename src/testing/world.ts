import { randomUUID } from 'node:crypto';
import { Pool } from 'pg';
import { CustomerAdminService } from '@cinema-billing/gen/billing/admin/v1/customer_admin_service_pb.ts';
import { OperationsService } from '@cinema-billing/gen/billing/admin/v1/operations_service_pb.ts';
import { PaymentAdminService } from '@cinema-billing/gen/billing/admin/v1/payment_admin_service_pb.ts';
import { PlanAdminService } from '@cinema-billing/gen/billing/admin/v1/plan_admin_service_pb.ts';
import { SubscriptionAdminService } from '@cinema-billing/gen/billing/admin/v1/subscription_admin_service_pb.ts';
import { SandboxService } from '@cinema-billing/gen/billing/sandbox/v1/sandbox_service_pb.ts';
import { EntitlementService } from '@cinema-billing/gen/billing/v1/entitlement_service_pb.ts';
import { PlanService } from '@cinema-billing/gen/billing/v1/plan_service_pb.ts';
import { SubscriptionService } from '@cinema-billing/gen/billing/v1/subscription_service_pb.ts';
import { grpcClient } from '../cli/grpc-client.ts';
import { plantPlans as plantPlansOfDemo } from '../local/demo-data.ts';
import { localPaymentSystems, type LocalProvider } from '../local/payment-systems.ts';
import { startAuthDouble, type TestAuthDouble } from './auth-double.ts';
import { createTestDatabase } from './database.ts';
import { startTestNats, type TestNats } from './nats.ts';
import { startDoubleProcess, type TestProvider } from './double.ts';
import { startPaymentSystem, type TestPaymentSystem } from './payment-system.ts';
import { startService, type TestService } from './service.ts';
import { waitUntil } from './wait-until.ts';
import { startWebhookGate, type WebhookGate } from './webhook-gate.ts';

export type Row = Record<string, unknown>;

/** Everything real, each a process of its own: database, NATS, payment system, Auth double, service. */
export interface World {
  readonly databaseUrl: string;
  readonly nats: TestNats;
  readonly auth: TestAuthDouble;
  /** The sandbox payment system; throws in a world that charges through a double. */
  readonly paymentSystem: TestPaymentSystem;
  /** What the service charges through, the sandbox payment system or a double. */
  readonly provider: TestProvider;
  readonly providerName: LocalProvider;
  /** Between the payment system and the replica that was started last. */
  readonly webhooks: WebhookGate;
  /** The replica that was started first; `startReplica` adds others. */
  service: TestService;
  /** Price ids by plan code; monthly. */
  readonly prices: Readonly<Record<'basic' | 'premium', string>>;
  /** Reads the database, not through the service. */
  query(text: string, values?: unknown[]): Promise<Row[]>;
  startReplica(env?: Record<string, string>): Promise<TestService>;
  clients(service?: TestService): ReturnType<typeof clientsOf>;
  /** A viewer who has paid, or saved a method for a trial, with a card of the payment system's list. */
  subscriber(
    card?: string,
    more?: { withTrial?: boolean },
  ): Promise<{ userId: string; subscriptionId: string; token: string }>;
  /** Moves the business clock and waits until all that was due on the way is done. */
  advance(span: { days?: number; hours?: number }): Promise<void>;
  stop(): Promise<void>;
}

export interface WorldOptions {
  /** Where the business clock stands at the start; it only moves when the test moves it. */
  at?: string;
  env?: Record<string, string>;
  /** What the service charges through; the sandbox when left out. */
  provider?: LocalProvider;
  /** The plans that `npm start` sells, instead of the two of the tests. */
  demoPlans?: boolean;
}

const day = 86_400;
const advanceCallsMax = 100;

/** Starts a world of its own for a test file. */
export async function startWorld(options: WorldOptions = {}): Promise<World> {
  const database = await createTestDatabase();
  const sql = new Pool({ connectionString: database.url, max: 4 });
  const query = async (text: string, values: unknown[] = []) => (await sql.query(text, values)).rows as Row[];
  const prices = options.demoPlans ? await plantDemoPlans(database.url, query) : await plantPlans(query);
  const at = options.at ?? '2027-01-15T09:00:00Z';
  await query(`insert into sandbox_clock (set_to, set_at, running) values ($1, clock_timestamp(), false)`, [at]);
  const nats = await startTestNats();
  const auth = await startAuthDouble({ natsUrl: nats.url });
  const webhooks = await startWebhookGate();
  const providerName = options.provider ?? 'sandbox';
  const sandbox = providerName === 'sandbox' ? await startPaymentSystem({ webhookUrl: webhooks.url }) : undefined;
  const double =
    providerName === 'sandbox' ? undefined : await startDoubleProcess(providerName, { webhookUrl: webhooks.url });
  const provider = sandbox ?? double!;
  const env = {
    BILLING_PORT: '0',
    BILLING_GRPC_PORT: '0',
    BILLING_DATABASE_URL: database.url,
    BILLING_NATS_URL: nats.url,
    BILLING_AUTH_PUBLIC_KEY: auth.publicKeyPem,
    BILLING_AUTH_ISSUER: auth.issuer,
    BILLING_AUTH_AUDIENCE: auth.audience,
    BILLING_SECRET: 'a secret of the tests',
    ...localPaymentSystems[providerName].serviceEnv({ ...provider, returnUrl: 'https://cinema.example/account' }),
    ...options.env,
  };
  const replicas: TestService[] = [];
  const startReplica = async (more: Record<string, string> = {}) => {
    const replica = await startService({ ...env, ...more });
    replicas.push(replica);
    webhooks.target = `${replica.httpUrl}/v1/webhooks/${providerName}`;
    return replica;
  };
  const world: World = {
    databaseUrl: database.url,
    nats,
    auth,
    get paymentSystem() {
      if (sandbox === undefined) throw new Error(`this world charges through the double of ${providerName}`);
      return sandbox;
    },
    provider,
    providerName,
    prices,
    query,
    webhooks,
    service: await startReplica(),
    startReplica: (more) => startReplica(more),
    clients: (service = world.service) => clientsOf(service),
    subscriber: (card, more) => takeOut(world, card, more),
    advance: (span) => advance(world, span),
    async stop() {
      await Promise.all(replicas.map((replica) => replica.stop()));
      await Promise.all([provider.stop(), auth.stop(), sql.end(), webhooks.stop()]);
      await nats.remove();
      await database.drop();
    },
  };
  return world;
}

function clientsOf(service: TestService) {
  return {
    plans: grpcClient(PlanService, service.grpcAddress),
    subscriptions: grpcClient(SubscriptionService, service.grpcAddress),
    entitlements: grpcClient(EntitlementService, service.grpcAddress),
    sandbox: grpcClient(SandboxService, service.grpcAddress),
    planAdmin: grpcClient(PlanAdminService, service.grpcAddress),
    customerAdmin: grpcClient(CustomerAdminService, service.grpcAddress),
    subscriptionAdmin: grpcClient(SubscriptionAdminService, service.grpcAddress),
    paymentAdmin: grpcClient(PaymentAdminService, service.grpcAddress),
    operations: grpcClient(OperationsService, service.grpcAddress),
  };
}

async function plantPlans(query: World['query']): Promise<World['prices']> {
  const plant = async (code: string, features: string[], amountMinor: number) => {
    const [planId, priceId] = [randomUUID(), randomUUID()];
    await query(`insert into plan values ($1, $2, $2, '', $3, 'cinema', null, '2027-01-01')`, [planId, code, features]);
    await query(`insert into price values ($1, $2, 'RUB', $3, 'month', 1, '2027-01-01')`, [
      priceId,
      planId,
      amountMinor,
    ]);
    return priceId;
  };
  return {
    basic: await plant('basic', ['catalog.base'], 29_900),
    premium: await plant('premium', ['catalog.base', 'catalog.premieres', 'video.uhd'], 99_900),
  };
}

async function plantDemoPlans(databaseUrl: string, query: World['query']): Promise<World['prices']> {
  await plantPlansOfDemo(databaseUrl);
  const monthly = async (code: string) => {
    const [row] = await query(
      `select price.id from price join plan on plan.id = plan_id where code = $1 and interval_unit = 'month'`,
      [code],
    );
    return row!['id'] as string;
  };
  return { basic: await monthly('basic'), premium: await monthly('premium') };
}

async function takeOut(
  world: World,
  card?: string,
  more: { withTrial?: boolean } = {},
): Promise<{ userId: string; subscriptionId: string; token: string }> {
  const userId = randomUUID();
  const token = await world.auth.token({ sub: userId });
  const { subscriptions } = world.clients();
  const { subscription, checkout } = await subscriptions.subscribe(
    { requestId: randomUUID(), priceId: world.prices.basic, ...more },
    { token },
  );
  await world.provider.pay(checkout!.url, card);
  const subscriptionId = subscription!.id;
  await waitUntil('the payment activates the subscription', async () => {
    const [row] = await world.query(`select status from subscription where id = $1`, [subscriptionId]);
    return row?.['status'] !== 'INCOMPLETE';
  });
  subscriptions.close();
  return { userId, subscriptionId, token };
}

async function advance(world: World, { days = 0, hours = 0 }: { days?: number; hours?: number }): Promise<void> {
  const { sandbox } = world.clients();
  const { now } = await sandbox.getClock({});
  const seconds = now!.seconds + BigInt(Math.ceil(days * day + hours * 3_600));
  const to = { seconds, nanos: now!.nanos };
  for (let call = 0; call < advanceCallsMax; call++) {
    const { done } = await sandbox.advanceClock({ target: { case: 'to', value: to } });
    if (done) return sandbox.close();
  }
  throw new Error('the clock did not reach its target');
}

/**
 * Copies a paid subscription, at once, for another viewer, whose saved method is the same one at the payment system:
 * what tests count then is charges per reference. Gives the new subscription's id.
 */
export async function copySubscription(world: World, subscriptionId: string): Promise<string> {
  const [userId, methodId, id] = [randomUUID(), randomUUID(), randomUUID()];
  await world.query(`alter table payment_method drop constraint if exists payment_method_of_provider`);
  await world.query(`insert into customer values ($1, now())`, [userId]);
  await world.query(
    `insert into payment_method select $1, $2, provider, merchant_account, provider_customer_id, provider_method_id,
       brand, last4, expiry_month, expiry_year, created_at from payment_method limit 1`,
    [methodId, userId],
  );
  await world.query(
    `insert into subscription (id, user_id, plan_id, price_id, product_line, status, billing_time_zone, anchor_at,
       current_period_start, current_period_end, payment_method_id, next_charge_at, created_at)
     select $1, $2, plan_id, price_id, product_line, status, billing_time_zone, anchor_at, current_period_start,
       current_period_end, $3, next_charge_at, created_at from subscription where id = $4`,
    [id, userId, methodId, subscriptionId],
  );
  return id;
}
