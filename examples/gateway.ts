// What a gateway does to sell a subscription, from the .proto files alone, with grpc-js:
//   node examples/gateway.ts 127.0.0.1:50051 TOKEN_OF_A_VIEWER PLAN_CODE
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Client, credentials, loadPackageDefinition, Metadata, status, type ServiceError } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const root = join(import.meta.dirname, '..');
const files = ['billing/v1/plan_service.proto', 'billing/v1/subscription_service.proto'];
const includeDirs = [join(root, 'proto'), join(root, 'node_modules/google-gax/build/protos')];
const contract = loadPackageDefinition(loadSync(files, { includeDirs, longs: String, enums: String, defaults: true }));

type Method = (
  request: object,
  metadata: Metadata,
  options: object,
  done: (e: ServiceError | null, a: unknown) => void,
) => void;
type Services = Record<
  'PlanService' | 'SubscriptionService',
  new (...args: unknown[]) => Client & Record<string, Method>
>;
interface Plan {
  code: string;
  prices: { id: string; amount: { currencyCode: string; amountMinor: string } }[];
}
interface Subscription {
  id: string;
  status: string;
  currentPeriodEnd: { seconds: string } | null;
}

const deadlineMs = 5_000;
const triesMax = 6;
const followMaxMs = 600_000;
/** Not now, or nobody knows: the same request again, with the same request_id, has its effect once. */
const worthRepeating = new Set([
  status.UNAVAILABLE,
  status.ABORTED,
  status.DEADLINE_EXCEEDED,
  status.RESOURCE_EXHAUSTED,
]);

const [address = '127.0.0.1:50051', token = '', planCode = 'basic'] = process.argv.slice(2);
const { PlanService, SubscriptionService } = (contract['billing'] as unknown as { v1: Services }).v1;
// createSsl() where the service has a certificate.
const plans = new PlanService(address, credentials.createInsecure());
const subscriptions = new SubscriptionService(address, credentials.createInsecure());

function callOnce<Answer>(client: Client & Record<string, Method>, method: string, request: object): Promise<Answer> {
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${token}`);
  return new Promise((resolve, reject) => {
    const options = { deadline: Date.now() + deadlineMs };
    client[method]!(request, metadata, options, (error, answer) => (error ? reject(error) : resolve(answer as Answer)));
  });
}

async function call<Answer>(client: Client & Record<string, Method>, method: string, request: object): Promise<Answer> {
  for (let tried = 1; ; tried++) {
    try {
      return await callOnce<Answer>(client, method, request);
    } catch (error) {
      if (!worthRepeating.has((error as ServiceError).code) || tried === triesMax) throw error;
      await pause(2 ** tried * 100 * (0.5 + Math.random()));
    }
  }
}

/** Asks until the payment system has told of success, or the subscription has ended unpaid. */
async function follow(subscriptionId: string): Promise<Subscription> {
  for (let waitedMs = 0, waitMs = 500; waitedMs < followMaxMs; waitedMs += waitMs) {
    const { subscription } = await call<{ subscription: Subscription }>(subscriptions, 'getSubscription', {
      subscriptionId,
    });
    if (subscription.status !== 'SUBSCRIPTION_STATUS_INCOMPLETE') return subscription;
    await pause(waitMs);
  }
  throw new Error('the payment was not made in time');
}

const { plans: onSale } = await call<{ plans: Plan[] }>(plans, 'listPlans', { currencyCode: 'RUB' });
for (const { code, prices } of onSale)
  console.log(`plan ${code}: ${prices[0]!.amount.amountMinor} ${prices[0]!.amount.currencyCode} minor`);
const plan = onSale.find(({ code }) => code === planCode);
if (plan === undefined) throw new Error(`no plan ${planCode} is on sale`);

// Made once per wish of the viewer and kept with it: whatever happens on the way, this is one subscription.
const requestId = randomUUID();
const request = { requestId, priceId: plan.prices[0]!.id, returnUrl: 'https://cinema.example/welcome' };
const { subscription, checkout } = await call<{ subscription: Subscription; checkout: { url: string } }>(
  subscriptions,
  'subscribe',
  request,
);
console.log(`pay at ${checkout.url}`);

const { status: state, currentPeriodEnd } = await follow(subscription.id);
const until = currentPeriodEnd && new Date(Number(currentPeriodEnd.seconds) * 1000).toISOString();
console.log(`${state.replace('SUBSCRIPTION_STATUS_', '')} until ${until ?? 'never'}`);
plans.close();
subscriptions.close();
