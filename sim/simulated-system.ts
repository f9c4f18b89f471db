import { Pool } from 'pg';
import { pino } from 'pino';
import { createApp, type AppContext } from '../src/app.ts';
import { readConfig } from '../src/config/config.ts';
import { newId } from '../src/lib/ids.ts';
import { freePort } from '../src/local/ports.ts';
import { advanceClock, moveClock } from '../src/sandbox/advance-clock.ts';
import { startAuthDouble, type TestAuthDouble } from '../src/testing/auth-double.ts';
import { startPaymentSystem, type TestPaymentSystem } from '../src/testing/payment-system.ts';

export const billingTimeZone = 'Europe/Berlin';

/** The whole service in this process; database, NATS, payment system and Auth double are processes of their own. */
export interface SimulatedSystem {
  readonly paymentSystem: TestPaymentSystem;
  readonly auth: TestAuthDouble;
  /** What is sold: price ids, which differ from run to run. */
  readonly offers: readonly Offer[];
  contextOf(userId: string): AppContext;
  readonly operator: AppContext;
  /** Sets business time and waits until all that became due is done. Throws when something stays undone. */
  moveTo(instant: Temporal.Instant): Promise<void>;
  /** Waits until nothing is left to do at the present business time. */
  drain(): Promise<void>;
  query<Row extends object>(text: string, values?: unknown[]): Promise<Row[]>;
  stop(): Promise<void>;
}

export interface Offer {
  readonly priceId: string;
  readonly unit: 'month' | 'year';
  readonly hasTrial: boolean;
}

const plans = [
  { code: 'basic', amountMinor: 29_900, trialDays: 0, refundPolicy: 'none' },
  { code: 'standard', amountMinor: 59_900, trialDays: 14, refundPolicy: 'none' },
  { code: 'premium', amountMinor: 99_900, trialDays: 0, refundPolicy: 'prorated' },
] as const;
const yearCostsMonths = 10;
/** Longer than the longest wait for an answer that never comes. */
const drainMaxMs = 60_000;
const drainCallsMax = 3;

/** Starts it on a migrated, empty database; business time stands at `at`. */
export async function startSimulatedSystem(options: {
  databaseUrl: string;
  natsUrl: string;
  at: Temporal.Instant;
}): Promise<SimulatedSystem> {
  const sql = new Pool({ connectionString: options.databaseUrl, max: 4 });
  sql.on('error', () => undefined);
  const query = async <Row extends object>(text: string, values: unknown[] = []) =>
    (await sql.query(text, values)).rows as Row[];
  await query(`insert into sandbox_clock (set_to, set_at, running) values ($1, clock_timestamp(), false)`, [
    options.at.toString(),
  ]);
  const offers = await plantOffers(query, options.at);
  const port = await freePort();
  const auth = await startAuthDouble({ natsUrl: options.natsUrl });
  const paymentSystem = await startPaymentSystem({ webhookUrl: `http://127.0.0.1:${port}/v1/webhooks/sandbox` });
  const config = readConfig({
    BILLING_PORT: String(port),
    BILLING_GRPC_PORT: '0',
    BILLING_DATABASE_URL: options.databaseUrl,
    BILLING_NATS_URL: options.natsUrl,
    BILLING_AUTH_PUBLIC_KEY: auth.publicKeyPem,
    BILLING_AUTH_ISSUER: auth.issuer,
    BILLING_AUTH_AUDIENCE: auth.audience,
    BILLING_TIME_ZONE: billingTimeZone,
    BILLING_SECRET: 'a secret of the simulation',
    BILLING_RATE_LIMIT_ADDRESS_PER_S: '0',
    PAYMENT_PROVIDER: 'sandbox',
    SANDBOX_PAYMENT_URL: paymentSystem.url,
    SANDBOX_PAYMENT_API_KEY: paymentSystem.apiKey,
    SANDBOX_PAYMENT_WEBHOOK_SECRET: paymentSystem.webhookSecret,
  });
  const app = await createApp(config, pino({ level: 'fatal' }, pino.destination(2)));
  await app.start();
  const ctx = { ...app.contextFor({ kind: 'system', id: 'simulation' }), sandbox: app.sandbox! };

  const drain = async () => {
    let left: readonly string[] = [];
    for (let call = 0; call < drainCallsMax; call++) {
      const { done, unresolved } = await advanceClock(ctx, { to: (now) => now, untilMs: Date.now() + drainMaxMs });
      if (done) return;
      left = unresolved;
    }
    throw new Error(`time cannot go on: ${left.join('; ')}`);
  };
  return {
    paymentSystem,
    auth,
    offers,
    contextOf: (userId) => app.contextFor({ kind: 'customer', id: userId }),
    operator: ctx,
    drain,
    async moveTo(instant) {
      await moveClock(ctx, instant, false);
      await drain();
    },
    query,
    async stop() {
      await app.stop();
      await Promise.all([paymentSystem.stop(), auth.stop(), sql.end()]);
    },
  };
}

async function plantOffers(query: SimulatedSystem['query'], at: Temporal.Instant): Promise<Offer[]> {
  const offers: Offer[] = [];
  for (const { code, amountMinor, trialDays, refundPolicy } of plans) {
    const planId = newId();
    await query(
      `insert into plan (id, code, name, description, features, product_line, trial_days, refund_policy, created_at)
       values ($1, $2, $2, '', $3, 'cinema', $4, $5, $6)`,
      [planId, code, [`catalog.${code}`], trialDays, refundPolicy, at.toString()],
    );
    for (const unit of ['month', 'year'] as const) {
      const priceId = newId();
      const amount = unit === 'year' ? amountMinor * yearCostsMonths : amountMinor;
      await query(`insert into price values ($1, $2, 'RUB', $3, $4, 1, $5)`, [
        priceId,
        planId,
        amount,
        unit,
        at.toString(),
      ]);
      offers.push({ priceId, unit, hasTrial: trialDays > 0 });
    }
  }
  return offers;
}
