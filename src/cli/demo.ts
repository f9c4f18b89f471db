import { randomUUID } from 'node:crypto';
import { timestampMs, type Timestamp } from '@bufbuild/protobuf/wkt';
import { SandboxService } from '@cinema-billing/gen/billing/sandbox/v1/sandbox_service_pb.ts';
import type { Price } from '@cinema-billing/gen/billing/v1/plan_pb.ts';
import { PaymentMethodService } from '@cinema-billing/gen/billing/v1/payment_method_service_pb.ts';
import { PlanService } from '@cinema-billing/gen/billing/v1/plan_service_pb.ts';
import {
  SubscriptionEventKind,
  SubscriptionStatus,
  type Subscription,
} from '@cinema-billing/gen/billing/v1/subscription_pb.ts';
import { CancelEffective, SubscriptionService } from '@cinema-billing/gen/billing/v1/subscription_service_pb.ts';
import { formatMoney } from '../lib/money.ts';
import { chapter, expectEqual, remark, StepFailed, told, waitFor } from './demo-steps.ts';
import { grpcClient } from './grpc-client.ts';
import { findRunningSystem, Refusal, type RunningSystem } from './running-system.ts';

/** The zone in which the embedded default counts months. */
const billingTimeZone = 'Europe/Moscow';
const goodCard = '4242424242424242';
/** Pays on the page and has no funds when it is charged later. */
const emptyCard = '4000000000000341';
const graceDays = 7;
const advanceCallsMax = 60;
/** A call says what is left undone shortly before its deadline. */
const advanceTimeoutMs = 8_000;

interface AuthRights {
  features: string[];
  grants: { access_until: string; plan_code: string; in_grace: boolean }[];
}

/** Tells the story of a subscription through the public ports of a running system; every claim in it is checked. */
class Demo {
  readonly #system: RunningSystem;
  readonly #plans;
  readonly #subscriptions;
  readonly #methods;
  readonly #sandbox;

  constructor(system: RunningSystem) {
    this.#system = system;
    this.#plans = grpcClient(PlanService, system.grpcAddress);
    this.#subscriptions = grpcClient(SubscriptionService, system.grpcAddress);
    this.#methods = grpcClient(PaymentMethodService, system.grpcAddress);
    this.#sandbox = grpcClient(SandboxService, system.grpcAddress);
  }

  async run(): Promise<void> {
    const price = await this.#choosePlan();
    await this.#loyalViewer(price);
    await this.#hastyViewer(price);
    await this.#unluckyViewer(price);
    chapter('Every step held.');
  }

  close(): void {
    for (const client of [this.#plans, this.#subscriptions, this.#methods, this.#sandbox]) client.close();
  }

  async #choosePlan(): Promise<Price> {
    chapter('The plans on sale');
    const { plans } = await this.#plans.listPlans({ currencyCode: 'RUB' });
    expectEqual(
      'plans on sale',
      plans.map((plan) => plan.code),
      ['basic', 'standard', 'premium'],
    );
    for (const plan of plans) {
      const prices = plan.prices.map(
        (price) => `${formatMoney(price.amount!)} a ${price.intervalCount === 1 ? unitName(price) : '?'}`,
      );
      told(plan.name, prices.join(', '));
    }
    return plans.at(-1)!.prices[0]!;
  }

  async #loyalViewer(price: Price): Promise<void> {
    const userId = randomUUID();
    chapter(`A viewer stays for two months (${userId})`);
    const oldToken = await this.#issueToken(userId);
    const activated = await this.#subscribeAndPay(userId, oldToken, price);
    const newToken = await this.#rightsGranted(userId, oldToken);
    const start = instantOf(activated.currentPeriodStart);
    expectEqual('end of the first period', instantOf(activated.currentPeriodEnd).toString(), monthsAfter(start, 1));

    const renewed = await this.#monthPasses(activated, newToken);
    expectEqual('end of the second period', instantOf(renewed.currentPeriodEnd).toString(), monthsAfter(start, 2));
    told('a month passed: renewed', `paid until ${day(renewed.currentPeriodEnd)}`);
    await this.#expectToken(newToken, true);
    told('the token is still good: rights only got longer');

    const flagged = await this.#cancel(renewed.id, newToken, CancelEffective.AT_PERIOD_END);
    expectEqual('cancel flag', flagged.cancelAtPeriodEnd, true);
    expectEqual('next charge after the cancellation', flagged.nextChargeAt, undefined);
    await this.#expectToken(newToken, true);
    told('cancelled at the end of the period', `access until ${day(flagged.currentPeriodEnd)}`);
    await this.#lease(userId, flagged.currentPeriodEnd!);

    const ended = await this.#monthPasses(flagged, newToken);
    expectEqual('status', ended.status, SubscriptionStatus.CANCELED);
    told('the month is over: the subscription has ended');
    await this.#rightsRevoked(userId, newToken);
    await this.#history(ended.id, await this.#issueToken(userId), [
      'SUBSCRIBED',
      'ACTIVATED',
      'RENEWED',
      'CANCELLATION_SCHEDULED',
      'CANCELED',
    ]);
  }

  async #hastyViewer(price: Price): Promise<void> {
    const userId = randomUUID();
    chapter(`Another viewer leaves at once (${userId})`);
    const firstToken = await this.#issueToken(userId);
    const { id } = await this.#subscribeAndPay(userId, firstToken, price);
    const token = await this.#rightsGranted(userId, firstToken);
    const canceled = await this.#cancel(id, token, CancelEffective.NOW);
    expectEqual('status', canceled.status, SubscriptionStatus.CANCELED);
    told('cancelled now');
    await this.#rightsRevoked(userId, token);
  }

  async #unluckyViewer(price: Price): Promise<void> {
    const userId = randomUUID();
    chapter(`A third viewer's card runs dry (${userId})`);
    const firstToken = await this.#issueToken(userId);
    const active = await this.#subscribeAndPay(userId, firstToken, price, emptyCard);
    const token = await this.#rightsGranted(userId, firstToken);

    const owing = await this.#monthPasses(active, token);
    expectEqual('status', owing.status, SubscriptionStatus.PAST_DUE);
    told('a month passed: the card was declined');
    const failedAt = instantOf(active.currentPeriodEnd).epochMilliseconds;
    const rights = await waitFor(
      'Auth knows of the grace period',
      () => this.#rights(userId),
      (seen) => seen.grants[0]?.in_grace === true,
    );
    const graceMs = Date.parse(rights.grants[0]!.access_until) - failedAt;
    expectEqual('days of grace', Math.floor(graceMs / 86_400_000), graceDays);
    await this.#expectToken(token, true);
    told('the viewer goes on watching, in grace', `until ${rights.grants[0]!.access_until.slice(0, 10)}`);

    const asked = { requestId: randomUUID(), subscriptionId: active.id };
    const { checkout } = await this.#methods.startPaymentMethodSetup(asked, { token });
    await this.#onPage(checkout!.url, goodCard);
    told('saved another card on its page', checkout!.url);
    const recovered = await waitFor(
      'what is owed is paid with it',
      () => this.#get(active.id, token),
      (seen) => seen.status === SubscriptionStatus.ACTIVE,
    );
    expectEqual('start of the period', instantOf(recovered.currentPeriodStart), instantOf(active.currentPeriodEnd));
    told('what was owed is paid at once: active', `paid until ${day(recovered.currentPeriodEnd)}`);
    await this.#expectToken(token, true);
    await this.#history(active.id, token, [
      'SUBSCRIBED',
      'ACTIVATED',
      'PAYMENT_DECLINED',
      'PAYMENT_METHOD_CHANGED',
      'RENEWED',
    ]);
  }

  async #subscribeAndPay(userId: string, token: string, price: Price, card = goodCard): Promise<Subscription> {
    const request = { requestId: randomUUID(), priceId: price.id };
    const { subscription, checkout } = await this.#subscriptions.subscribe(request, { token });
    expectEqual('status', subscription!.status, SubscriptionStatus.INCOMPLETE);
    told('subscribed, not paid yet', checkout!.url);
    expectEqual('rights before the payment', (await this.#rights(userId)).features, []);
    await this.#onPage(checkout!.url, card);
    told("paid on the payment system's page", formatMoney(price.amount!));
    const active = await waitFor(
      'the payment system calls back and the subscription is active',
      () => this.#get(subscription!.id, token),
      (seen) => seen.status === SubscriptionStatus.ACTIVE,
    );
    told('the payment system called back: active', `paid until ${day(active.currentPeriodEnd)}`);
    return active;
  }

  /** What the viewer does on the payment system's page. */
  async #onPage(url: string, card: string): Promise<void> {
    const body = new URLSearchParams({ card, action: 'pay' });
    const page = await fetch(url, { method: 'POST', body, redirect: 'manual' });
    if (page.status >= 400) throw new StepFailed(`the payment page answered ${page.status}`);
  }

  /** A new token with the new rights; the old one is refused. */
  async #rightsGranted(userId: string, oldToken: string): Promise<string> {
    const features = ['catalog.base', 'catalog.premieres', 'video.uhd'];
    const rights = await waitFor(
      'Auth has the rights',
      () => this.#rights(userId),
      (seen) => seen.features.length > 0,
    );
    expectEqual('features at Auth', [...rights.features].sort(), features);
    told('Auth granted the rights');
    remark(`Auth has: ${rights.features.join(', ')} until ${rights.grants[0]!.access_until}`);
    await this.#expectToken(oldToken, false);
    told('the token with the old rights is refused');
    return this.#issueToken(userId);
  }

  async #rightsRevoked(userId: string, token: string): Promise<void> {
    await waitFor(
      'Auth has taken the rights',
      () => this.#rights(userId),
      (seen) => seen.features.length === 0,
    );
    told('Auth revoked the rights');
    remark('Auth has: nothing');
    await this.#expectToken(token, false);
    told('the token with the old rights is refused');
  }

  /** Moves business time to the end of the paid period, and an hour further. */
  async #monthPasses(subscription: Subscription, token: string): Promise<Subscription> {
    const to = { seconds: subscription.currentPeriodEnd!.seconds + 3_600n, nanos: 0 };
    for (let call = 0; call < advanceCallsMax; call++) {
      const { done, unresolved } = await this.#sandbox.advanceClock(
        { target: { case: 'to', value: to } },
        { timeoutMs: advanceTimeoutMs },
      );
      if (done) return this.#decided(subscription, token);
      if (call >= 2 && unresolved.length > 0) throw new StepFailed(`time does not pass: ${unresolved.join('; ')}`);
    }
    throw new StepFailed('time does not pass');
  }

  async #decided(before: Subscription, token: string): Promise<Subscription> {
    const end = before.currentPeriodEnd!;
    return waitFor(
      'the renewal loop has done its work',
      () => this.#get(before.id, token),
      (seen) =>
        seen.endedAt !== undefined ||
        seen.status === SubscriptionStatus.PAST_DUE ||
        seen.currentPeriodEnd!.seconds > end.seconds,
    );
  }

  async #lease(userId: string, until: Timestamp): Promise<void> {
    const expected = instantOf(until).epochMilliseconds;
    const rights = await waitFor(
      'the lease at Auth ends with the period',
      () => this.#rights(userId),
      (seen) => seen.grants.length === 1 && Date.parse(seen.grants[0]!.access_until) === expected,
    );
    remark(`Auth has: ${rights.features.join(', ')} until ${rights.grants[0]!.access_until}`);
  }

  async #history(subscriptionId: string, token: string, expected: string[]): Promise<void> {
    const { events } = await this.#subscriptions.listSubscriptionEvents({ subscriptionId }, { token });
    const names = new Map<number, string>(
      Object.entries(SubscriptionEventKind).map(([name, kind]) => [Number(kind), name]),
    );
    expectEqual('history', events.map(({ kind }) => names.get(kind)).toReversed(), expected);
    told('the history tells it all', expected.join(' → ').toLowerCase().replaceAll('_', ' '));
  }

  async #cancel(subscriptionId: string, token: string, effective: CancelEffective): Promise<Subscription> {
    const request = { requestId: randomUUID(), subscriptionId, effective, reason: 'demo' };
    return (await this.#subscriptions.cancelSubscription(request, { token })).subscription!;
  }

  async #get(subscriptionId: string, token: string): Promise<Subscription> {
    return (await this.#subscriptions.getSubscription({ subscriptionId }, { token })).subscription!;
  }

  async #issueToken(userId: string): Promise<string> {
    return (await this.#auth<{ token: string }>('/tokens', { sub: userId })).token;
  }

  async #expectToken(token: string, good: boolean): Promise<void> {
    const { active } = await this.#auth<{ active: boolean }>('/tokens/check', { token });
    expectEqual('whether Auth takes the token', active, good);
  }

  async #rights(userId: string): Promise<AuthRights> {
    return this.#auth<AuthRights>(`/users/${userId}`);
  }

  async #auth<T>(path: string, body?: object): Promise<T> {
    const init = body ? { method: 'POST', body: JSON.stringify(body) } : {};
    const response = await fetch(`${this.#system.authUrl}${path}`, init);
    if (!response.ok) throw new StepFailed(`Auth answered ${response.status} to ${path}`);
    return (await response.json()) as T;
  }
}

function instantOf(timestamp: Timestamp | undefined): Temporal.Instant {
  if (!timestamp) throw new StepFailed('an instant is missing in the answer');
  return Temporal.Instant.fromEpochMilliseconds(timestampMs(timestamp));
}

function monthsAfter(instant: Temporal.Instant, months: number): string {
  return instant.toZonedDateTimeISO(billingTimeZone).add({ months }).toInstant().toString();
}

function day(timestamp: Timestamp | undefined): string {
  return instantOf(timestamp).toZonedDateTimeISO(billingTimeZone).toPlainDate().toString();
}

function unitName(price: Price): string {
  return ['', 'day', 'week', 'month', 'year'][price.intervalUnit]!;
}

async function main(): Promise<void> {
  const demo = new Demo(findRunningSystem());
  try {
    await demo.run();
  } finally {
    demo.close();
  }
}

main().catch((error: unknown) => {
  const expected = error instanceof StepFailed || error instanceof Refusal;
  console.error(`\n✗ ${expected ? error.message : error instanceof Error ? error.stack : String(error)}`);
  process.exitCode = 1;
});
