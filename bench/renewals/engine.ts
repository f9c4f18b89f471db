import { pino } from 'pino';
import { openDatabase } from '../../src/db/orm.ts';
import { entities } from '../../src/entities.ts';
import type { PaymentProvider } from '../../src/payments/provider.ts';
import { claimBatchMax } from '../../src/renewals/claim-due.ts';
import { renewalLanes, renewDue } from '../../src/renewals/renew-due.ts';
import { startTicker } from '../../src/renewals/ticker.ts';
import type { SubscribeContext } from '../../src/subscriptions/subscribe.ts';
import type { SideAnswer, SideInput } from '../renewals.ts';

const stopMaxMs = 60_000;
const unused = () => {
  throw new Error('no renewal needs this');
};

/** Takes every charge at once; only what the engine needs. */
const provider: PaymentProvider = {
  name: 'bench',
  merchantAccount: 'bench',
  capabilities: {
    idempotencyWindowMs: 86_400_000,
    lookUpByReference: true,
    checkoutTtlMs: 86_400_000,
    maxConcurrency: claimBatchMax,
    callDeadlineMs: 10_000,
    canCancelPending: true,
    canCloseCheckout: true,
    canDetachMethod: true,
    takesCurrency: () => true,
    reportsDisputes: false,
    fiscalizes: undefined,
    minimumAmountMinor: () => 1n,
  },
  charge: ({ reference, amount }) =>
    Promise.resolve({
      kind: 'succeeded',
      providerPaymentId: `pay_${reference}`,
      amount,
      refundedMinor: 0n,
      method: undefined,
    }),
  startCheckout: unused,
  expireCheckout: unused,
  refund: unused,
  detachMethod: unused,
  cancelPending: unused,
  lookUp: unused,
  lookUpRefund: unused,
  lookUpDispute: unused,
  listDisputes: unused,
  lookUpReceipt: unused,
  listPayments: unused,
  authenticateWebhook: unused,
  readWebhook: unused,
};

/** The loop of `npm start`, until everything that was due is renewed. */
async function main({ databaseUrl, dueCount }: SideInput): Promise<SideAnswer> {
  const orm = await openDatabase({ url: databaseUrl, entities });
  const log = pino({ level: 'info' }, pino.destination('/dev/null'));
  const ctx: SubscribeContext = {
    em: orm.em,
    actor: { kind: 'system', id: 'renewals' },
    log,
    traceparent: '',
    wake: () => undefined,
    providers: new Map([[provider.name, provider]]),
    providerOfCurrency: new Map(),
    leaseMarginHours: 72,
    billingTimeZone: 'UTC',
    secret: 'of the bench',
  };
  await orm.em.fork().execute('select 1');
  const finished = Promise.withResolvers<void>();
  let renewedCount = 0;
  const work = async () => {
    const batchCount = await renewDue(ctx);
    renewedCount += batchCount;
    if (renewedCount >= dueCount) finished.resolve();
    return batchCount;
  };
  const cpu = process.cpuUsage();
  const startedAt = performance.now();
  const ticker = startTicker('renewals', work, log, renewalLanes);
  ticker.wake();
  await finished.promise;
  const elapsedMs = performance.now() - startedAt;
  const { user, system } = process.cpuUsage(cpu);
  await ticker.stop(stopMaxMs);
  await orm.close(true);
  return { elapsedMs, cpuUs: user + system };
}

process.stdout.write(JSON.stringify(await main(JSON.parse(process.argv[2]!) as SideInput)));
