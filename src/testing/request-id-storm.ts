import { randomUUID } from 'node:crypto';
import { grpcClient, RpcError } from '../cli/grpc-client.ts';
import { CancelEffective, SubscriptionService } from '@cinema-billing/gen/billing/v1/subscription_service_pb.ts';
import { createDice } from './mutated-message.ts';
import type { TestService } from './service.ts';
import { waitUntil } from './wait-until.ts';
import { copySubscription, type World } from './world.ts';

/** One mutating request; each `send` is the same request again. */
interface Request {
  subject: { userId: string } | { subscriptionId: string };
  /** Answers the response as text, so that two can be compared byte for byte. */
  send(replica: number, timeoutMs: number): Promise<string>;
}

export interface StormOptions {
  /** Half of them take out a subscription, half cancel one. */
  requests: number;
  repeats: number;
  /** Of the deadlines. */
  seed: number;
  replicas: readonly TestService[];
  /** Hears a line for a person now and then. */
  progress(line: string): void;
}

export interface StormReport {
  /** Codes and reasons of the calls in the storm, with how many there were of each. */
  outcomes: Record<string, number>;
  /** How many requests were examined, and what was found to be other than one effect with one answer. */
  examined: number;
  differences: string[];
}

const deadlineMaxMs = 500;
const requestsAtOnce = 10;
const reportEvery = 50;
/** Longer than the lease of a request whose first call was cut off. */
const answerTimeoutMs = 60_000;
const worthRepeating = new Set(['UNAVAILABLE', 'ABORTED', 'DEADLINE_EXCEEDED']);

/**
 * Sends each request `repeats` times at once to all replicas in turn, with deadlines of 1 to 500 ms; then asks each
 * replica for the answer, and compares the effects in the database and in the payment system's ledger with the number
 * of requests (I14).
 */
export async function requestIdStorm(world: World, options: StormOptions): Promise<StormReport> {
  const dice = createDice(options.seed);
  const clients = options.replicas.map((replica) => grpcClient(SubscriptionService, replica.grpcAddress));
  const requests = await prepare(world, clients, options.requests);
  const report: StormReport = { outcomes: {}, examined: 0, differences: [] };
  const waiting = [...requests];

  async function worker(): Promise<void> {
    for (let request = waiting.pop(); request !== undefined; request = waiting.pop()) {
      const { send, subject } = request;
      await Promise.all(
        Array.from({ length: options.repeats }, async (_, n) => {
          const outcome = await outcomeOf(send(n % clients.length, 1 + dice.roll(deadlineMaxMs)));
          report.outcomes[outcome.name] = (report.outcomes[outcome.name] ?? 0) + 1;
        }),
      );
      const answers = new Set(await Promise.all(clients.map((_, replica) => answerOf(send, replica))));
      report.examined += 1;
      if (report.examined % reportEvery === 0) options.progress(`${report.examined}/${requests.length} requests`);
      const where = JSON.stringify(subject);
      if (answers.size !== 1) report.differences.push(`${where}: ${answers.size} answers`);
      for (const answer of answers) if (!answer.startsWith('{')) report.differences.push(`${where}: ${answer}`);
      const effects = await effectsOf(world, subject);
      if (effects !== oneEffect) report.differences.push(`${where}: ${effects}`);
    }
  }
  await Promise.all(Array.from({ length: requestsAtOnce }, worker));
  report.differences.push(...(await ledgerDifferences(world, requests)));
  for (const client of clients) client.close();
  return report;
}

type Clients = ReturnType<typeof grpcClient<typeof SubscriptionService>>[];

async function prepare(world: World, clients: Clients, count: number): Promise<Request[]> {
  const { subscriptionId: original } = await world.subscriber();
  const gateway = await world.auth.token({ sub: 'gateway', scope: 'billing.write', expiresInS: 3_600 });
  const requests: Request[] = [];
  for (let n = 0; n < count; n++) {
    const requestId = randomUUID();
    if (n % 2 === 0) {
      const userId = randomUUID();
      const request = { requestId, priceId: world.prices.basic, userId };
      const send: Request['send'] = async (replica, timeoutMs) =>
        asText(await clients[replica]!.subscribe(request, { token: gateway, timeoutMs }));
      requests.push({ subject: { userId }, send });
    } else {
      const subscriptionId = await copySubscription(world, original);
      const request = { requestId, subscriptionId, effective: CancelEffective.AT_PERIOD_END, reason: 'storm' };
      const send: Request['send'] = async (replica, timeoutMs) =>
        asText(await clients[replica]!.cancelSubscription(request, { token: gateway, timeoutMs }));
      requests.push({ subject: { subscriptionId }, send });
    }
  }
  return requests;
}

function asText(answer: unknown): string {
  return JSON.stringify(answer, (_, value: unknown) => (typeof value === 'bigint' ? value.toString() : value));
}

async function outcomeOf(call: Promise<string>): Promise<{ name: string; answer?: string }> {
  try {
    return { name: 'OK', answer: await call };
  } catch (error) {
    if (!(error instanceof RpcError)) throw error;
    return { name: error.code === 'DEADLINE_EXCEEDED' ? error.code : `${error.code} ${error.reason}` };
  }
}

/** The answer that the request has in the end; whatever is not worth a repeat is the answer, too. */
function answerOf(send: Request['send'], replica: number): Promise<string> {
  return waitUntil(
    'the request is answered',
    async () => {
      const { name, answer } = await outcomeOf(send(replica, 10_000));
      return answer ?? (worthRepeating.has(name.split(' ')[0]!) ? undefined : name);
    },
    answerTimeoutMs,
  );
}

const oneEffect = 'subscriptions 1, history 1, payments 1, attempts 1';

async function effectsOf(world: World, subject: Request['subject']): Promise<string> {
  if ('userId' in subject) {
    const [row] = await world.query(
      `select (select count(*) from subscription where user_id = $1) as subscriptions,
         (select count(*) from subscription_event where user_id = $1) as history,
         (select count(*) from payment where user_id = $1) as payments,
         (select count(*) from payment_attempt a join payment p on p.id = a.payment_id where p.user_id = $1) as attempts`,
      [subject.userId],
    );
    return describe(row!);
  }
  // For a cancellation the four are: what is to end, its history, its messages to Auth, and the version it has reached.
  const [row] = await world.query(
    `select (select count(*) from subscription where id = $1 and cancel_at_period_end) as subscriptions,
       (select count(*) from subscription_event where subscription_id = $1) as history,
       (select count(*) from outbox_message m join subscription s using (user_id) where s.id = $1) as payments,
       (select version from entitlement join subscription s using (user_id) where s.id = $1) as attempts`,
    [subject.subscriptionId],
  );
  return describe(row!);
}

function describe(row: Record<string, unknown>): string {
  const { subscriptions, history, payments, attempts } = row;
  return `subscriptions ${subscriptions}, history ${history}, payments ${payments}, attempts ${attempts}`;
}

/** The payment system's own word: one checkout for each viewer who took something out, and none for anybody else. */
async function ledgerDifferences(world: World, requests: readonly Request[]): Promise<string[]> {
  const counts = new Map<string, number>();
  for (const { customer_reference: userId } of await world.paymentSystem.payments()) {
    counts.set(userId, (counts.get(userId) ?? 0) + 1);
  }
  return requests.flatMap(({ subject }) =>
    'userId' in subject && counts.get(subject.userId) !== 1
      ? [`${subject.userId}: ${counts.get(subject.userId) ?? 0} payments in the ledger`]
      : [],
  );
}
