import { join } from 'node:path';
import type { Logger } from 'pino';
import { CustomerAdminService } from '@cinema-billing/gen/billing/admin/v1/customer_admin_service_pb.ts';
import { OperationsService } from '@cinema-billing/gen/billing/admin/v1/operations_service_pb.ts';
import { PaymentAdminService } from '@cinema-billing/gen/billing/admin/v1/payment_admin_service_pb.ts';
import { PlanAdminService } from '@cinema-billing/gen/billing/admin/v1/plan_admin_service_pb.ts';
import { SubscriptionAdminService } from '@cinema-billing/gen/billing/admin/v1/subscription_admin_service_pb.ts';
import { PaymentMethodService } from '@cinema-billing/gen/billing/v1/payment_method_service_pb.ts';
import { EntitlementService } from '@cinema-billing/gen/billing/v1/entitlement_service_pb.ts';
import { PlanService, type ListPlansResponse } from '@cinema-billing/gen/billing/v1/plan_service_pb.ts';
import { SubscriptionService } from '@cinema-billing/gen/billing/v1/subscription_service_pb.ts';
import { WebhookService } from '@cinema-billing/gen/billing/v1/webhook_service_pb.ts';
import { SandboxService } from '@cinema-billing/gen/billing/sandbox/v1/sandbox_service_pb.ts';
import { sql } from 'kysely';
import { keepPlans, type KeptPlans } from './catalog/kept-plans.ts';
import { ConfigError, type Config } from './config/config.ts';
import type { PaymentConfig } from './config/payment-config.ts';
import { setSandboxClock } from './db/clock.ts';
import { describeDatabaseError } from './db/database-error.ts';
import { migrateDatabase } from './db/migrate.ts';
import { inTransaction, openDatabase, type MikroORM } from './db/orm.ts';
import { entities } from './entities.ts';
import type { Actor } from './identity/actor.ts';
import type { CallContext } from './identity/call-context.ts';
import { openJwks } from './identity/jwks.ts';
import { fixedKey, type TokenKeys } from './identity/token-keys.ts';
import { createTokenVerifier } from './identity/verify-token.ts';
import { createRelay, type Relay } from './outbox/relay.ts';
import { createSandboxProvider } from './payments/providers/sandbox/sandbox-provider.ts';
import { detachMethods } from './payments/detach-methods.ts';
import type { PaymentProvider } from './payments/provider.ts';
import { createYookassaProvider } from './payments/providers/yookassa/yookassa-provider.ts';
import { followReceipts } from './payments/follow-receipts.ts';
import { findUnconfigured } from './payments/find-unconfigured.ts';
import type { PaymentProviders } from './payments/providers.ts';
import { sendRefunds } from './payments/send-refunds.ts';
import { postponeLate } from './renewals/postpone-late.ts';
import { renewalLanes, renewDue } from './renewals/renew-due.ts';
import { startTicker, type Ticker } from './renewals/ticker.ts';
import { announceCharges } from './subscriptions/announce-charges.ts';
import { followDisputes } from './subscriptions/follow-disputes.ts';
import { announcePrices } from './subscriptions/announce-prices.ts';
import { followAttempts } from './subscriptions/follow-attempts.ts';
import { processWebhookEvents } from './subscriptions/process-webhook-events.ts';
import { rollOutFeatures } from './subscriptions/roll-out-features.ts';
import { runTransitions } from './subscriptions/run-transitions.ts';
import type { SandboxControl } from './sandbox/advance-clock.ts';
import { createDoubleControl } from './sandbox/double-control.ts';
import type { SubscribeContext } from './subscriptions/subscribe.ts';
import { createAdminSite, type AdminSite } from './transport/admin-site.ts';
import type { Call } from './transport/call.ts';
import { createRouter, type Router } from './transport/router.ts';
import { createTransport, type Transport } from './transport/server.ts';
import { customerAdminService } from './transport/services/customer-admin-service.ts';
import { operationsService } from './transport/services/operations-service.ts';
import { paymentAdminService } from './transport/services/payment-admin-service.ts';
import { planAdminService } from './transport/services/plan-admin-service.ts';
import { subscriptionAdminService } from './transport/services/subscription-admin-service.ts';
import { paymentMethodService } from './transport/services/payment-method-service.ts';
import { entitlementService } from './transport/services/entitlement-service.ts';
import { planService } from './transport/services/plan-service.ts';
import { sandboxService } from './transport/services/sandbox-service.ts';
import { subscriptionService } from './transport/services/subscription-service.ts';
import { webhookService } from './transport/services/webhook-service.ts';

/** The whole service, not yet listening. */
export interface App {
  readonly orm: MikroORM;
  /** The clock of the sandbox payment system, or of a double, which goes with the service's; undefined with a live one. */
  readonly sandbox: SandboxControl | undefined;
  /** What use cases run with when nobody called: for tests, loops and the operator's tool. */
  contextFor(actor: Actor): AppContext;
  /** Migrates, listens and starts the loops of the configured roles. */
  start(): Promise<{ httpPort: number; grpcPort: number }>;
  /** Refuses new calls, finishes what is under way, bounded, and lets go of everything. */
  stop(): Promise<void>;
}

export type AppContext = SubscribeContext;

const drainMs = 8_000;

/**
 * Builds the service from its configuration: the only place that constructs things. Throws when Auth's keys cannot be
 * had, and ConfigError when a currency is given to a payment system that does not take it.
 */
export async function createApp(config: Config, log: Logger): Promise<App> {
  const { providers, sandbox } = await openPaymentSystems(config);
  const tokenKeys = await openTokenKeys(config, log);
  const orm = await openDatabase({ url: config.databaseUrl, entities });
  const relay = config.roles.has('relay')
    ? createRelay({ databaseUrl: config.databaseUrl, orm, natsUrl: config.natsUrl, log })
    : undefined;
  const tickers = new Map<LoopName, Ticker>();
  const keptPlans = keepPlans<ListPlansResponse>();
  const wake: CallContext['wake'] = (loop) => {
    if (loop === 'relay') relay?.wake();
    else if (loop === 'plans') keptPlans.forget();
    else if (loop === 'webhooks') tickers.get('webhooks')?.wake();
    else
      for (const name of [
        'renewals',
        'sweeper',
        'transitions',
        'refunds',
        'removals',
        'features',
        'disputes',
        'receipts',
        'prices',
        'announcements',
        'late',
      ] as const)
        tickers.get(name)?.wake();
  };
  const contextFor = (actor: Actor, call?: Call): AppContext => ({
    em: orm.em,
    actor,
    log: call?.log ?? log,
    traceparent: call?.traceparent ?? '',
    wake,
    providers,
    providerOfCurrency: config.providerOfCurrency,
    leaseMarginHours: config.leaseMarginHours,
    billingTimeZone: config.timeZone,
    secret: config.secret,
  });
  const router = routes((call) => contextFor(call.actor, call), keptPlans, sandbox);
  const transport = config.roles.has('api') ? listeners(config, log, router, orm, relay, tokenKeys) : undefined;

  return {
    orm,
    sandbox,
    contextFor,
    async start() {
      await migrateDatabase(config.databaseUrl);
      await assertDurable(orm);
      if (sandbox !== undefined) await startSandboxClock(orm, sandbox, log);
      for (const owner of await findUnconfigured(orm.em, providers)) {
        log.error(owner, 'methods that were saved at this payment system cannot be charged: it is not configured');
      }
      const ports = (await transport?.start()) ?? { httpPort: 0, grpcPort: 0 };
      relay?.start();
      for (const [name, work, lanes] of loops(config, contextFor))
        tickers.set(name, startTicker(name, work, log, lanes));
      return ports;
    },
    async stop() {
      if ((await transport?.stop(drainMs)) === false) {
        log.warn('calls were still running when their time was up; whoever repeats them continues them');
      }
      const ended = await Promise.all([...tickers.values()].map((ticker) => ticker.stop(drainMs)));
      if (ended.includes(false)) {
        log.warn(
          'rounds were still running when their time was up; the sweeper of another replica, or of the next start, ends them',
        );
      }
      await relay?.stop();
      tokenKeys.stop();
      await orm.close(true);
    },
  };
}

/** The payment systems of the configuration. Only the sandbox, which stands alone, and doubles have a clock to move. */
async function openPaymentSystems(
  config: Config,
): Promise<{ providers: PaymentProviders; sandbox: SandboxControl | undefined }> {
  let sandbox: SandboxControl | undefined;
  const open = async (payment: PaymentConfig): Promise<PaymentProvider> => {
    switch (payment.provider) {
      case 'stripe': {
        // Stripe's client is a fifth of what a start has to load.
        const { createStripeProvider } = await import('./payments/providers/stripe/stripe-provider.ts');
        return createStripeProvider(payment);
      }
      case 'yookassa':
        return createYookassaProvider(payment);
      case 'sandbox': {
        const provider = createSandboxProvider(payment);
        sandbox = provider;
        return provider;
      }
    }
  };
  if (config.sandboxActivityUrl !== undefined) sandbox = createDoubleControl(config.sandboxActivityUrl);
  const providers = new Map<string, PaymentProvider>();
  for (const payment of config.payments) providers.set(payment.provider, await open(payment));
  const problems = [...config.providerOfCurrency]
    .filter(([currency, name]) => !providers.get(name)?.capabilities.takesCurrency(currency))
    .map(([currency, name]) => `PAYMENT_PROVIDER_BY_CURRENCY: ${name} does not take ${currency}`);
  if (problems.length > 0) throw new ConfigError(problems);
  return { providers, sandbox };
}

function routes(
  contextOf: (call: Call) => AppContext,
  keptPlans: KeptPlans<ListPlansResponse>,
  sandbox: SandboxControl | undefined,
): Router {
  const router = createRouter();
  router.add(PlanService, planService(contextOf, keptPlans));
  router.add(SubscriptionService, subscriptionService(contextOf));
  router.add(PaymentMethodService, paymentMethodService(contextOf));
  router.add(EntitlementService, entitlementService(contextOf));
  router.add(WebhookService, webhookService(contextOf));
  router.add(PlanAdminService, planAdminService(contextOf));
  router.add(CustomerAdminService, customerAdminService(contextOf));
  router.add(SubscriptionAdminService, subscriptionAdminService(contextOf));
  router.add(PaymentAdminService, paymentAdminService(contextOf));
  router.add(OperationsService, operationsService(contextOf));
  if (sandbox !== undefined)
    router.add(
      SandboxService,
      sandboxService((call) => ({ ...contextOf(call), sandbox })),
    );
  return router;
}

type LoopName =
  | 'webhooks'
  | 'renewals'
  | 'sweeper'
  | 'transitions'
  | 'refunds'
  | 'removals'
  | 'features'
  | 'disputes'
  | 'receipts'
  | 'prices'
  | 'announcements'
  | 'late';
type Loop = [name: LoopName, work: () => Promise<number>, lanes: number];

function loops(config: Config, contextFor: (actor: Actor) => AppContext): Loop[] {
  const contextOf = (id: string) => contextFor({ kind: 'system', id });
  const found: Loop[] = [];
  if (config.roles.has('api')) {
    const webhooks = contextOf('webhooks');
    found.push(['webhooks', () => processWebhookEvents(webhooks), 1]);
  }
  if (config.roles.has('renewals')) {
    const [renewals, sweeper, transitions] = [contextOf('renewals'), contextOf('sweeper'), contextOf('transitions')];
    const [refunds, removals, features] = [contextOf('refunds'), contextOf('removals'), contextOf('features')];
    const [disputes, receipts] = [contextOf('disputes'), contextOf('receipts')];
    const [prices, announcements, late] = [contextOf('prices'), contextOf('announcements'), contextOf('late')];
    found.push(
      ['renewals', () => renewDue(renewals), renewalLanes],
      ['sweeper', () => followAttempts(sweeper), 1],
      ['transitions', () => runTransitions(transitions), 1],
      ['refunds', () => sendRefunds(refunds), 1],
      ['removals', () => detachMethods(removals), 1],
      ['features', () => rollOutFeatures(features), 1],
      ['disputes', () => followDisputes(disputes), 1],
      ['receipts', () => followReceipts(receipts), 1],
      ['prices', () => announcePrices(prices), 1],
      ['announcements', () => announceCharges(announcements), 1],
      ['late', () => postponeLate(late), 1],
    );
  }
  return found;
}

async function openTokenKeys({ auth }: Config, log: Logger): Promise<TokenKeys> {
  if (auth.jwksUrl === undefined) return fixedKey(auth.publicKeyPem ?? '');
  return openJwks({ url: auth.jwksUrl, reloadEveryMs: auth.jwksReloadS * 1_000, log });
}

function listeners(
  config: Config,
  log: Logger,
  router: Router,
  orm: MikroORM,
  relay: Relay | undefined,
  tokenKeys: TokenKeys,
): Transport {
  let natsSeen = false;
  return createTransport({
    router,
    verifier: createTokenVerifier({
      keys: tokenKeys,
      issuer: config.auth.issuer,
      audience: config.auth.audience,
      lifetimeMaxS: config.auth.tokenLifetimeMaxS,
    }),
    log,
    host: config.host,
    httpPort: config.httpPort,
    grpcPort: config.grpcPort,
    reflection: config.reflection,
    rateLimits: config.rateLimits,
    tls: config.tls,
    corsOrigins: config.corsOrigins,
    adminSite: adminSite(config),
    readiness: async () => {
      // A broker that goes away later takes no replica out of service: calls go on, messages wait in the outbox.
      natsSeen ||= relay?.status().connected ?? true;
      return { database: await orm.isConnected(), nats: natsSeen };
    },
    describeUnknownError: describeDatabaseError,
  });
}

function adminSite({ admin, timeZone }: Config): AdminSite | undefined {
  if (admin === undefined) return undefined;
  const { oidc, sandboxAuthUrl } = admin;
  return createAdminSite({ dir: join(import.meta.dirname, '../admin-web/dist'), oidc, timeZone, sandboxAuthUrl });
}

/** A commit that the disk does not have yet would be a lost decision about money. */
async function assertDurable(orm: MikroORM): Promise<void> {
  const { rows } = await sql<{ synchronous_commit: string }>`show synchronous_commit`.execute(
    orm.em.fork().getKysely(),
  );
  if (rows[0]!.synchronous_commit === 'off') throw new Error('the database runs with synchronous_commit = off');
}

/** The first start of a sandbox sets its clock to the present; from then on it flows and can be moved forward. */
async function startSandboxClock(orm: MikroORM, provider: SandboxControl, log: Logger): Promise<void> {
  const now = await inTransaction(orm.em, async (tx) => {
    const { rows } = await sql<{ now: string; running: boolean | null }>`
      select business_now()::text as now, (select running from sandbox_clock) as running
    `.execute(tx.getKysely());
    const at = Temporal.Instant.from(rows[0]!.now);
    const running = rows[0]!.running ?? true;
    if (rows[0]!.running === null) await setSandboxClock(tx, at, running);
    return { at, running };
  });
  try {
    await provider.setClock(now.at, now.running);
  } catch (error) {
    log.warn({ err: error }, "the payment system's clock could not be set; AdvanceClock will set it");
  }
}
