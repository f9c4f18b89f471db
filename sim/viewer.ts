import { randomUUID } from 'node:crypto';
import { BillingError } from '../src/lib/billing-error.ts';
import { cancelSubscription } from '../src/subscriptions/cancel-subscription.ts';
import { detachPaymentMethod } from '../src/subscriptions/detach-payment-method.ts';
import { listSubscriptions } from '../src/subscriptions/list-subscriptions.ts';
import { resumeSubscription } from '../src/subscriptions/resume-subscription.ts';
import { retryPayment } from '../src/subscriptions/retry-payment.ts';
import { startMethodSetup } from '../src/subscriptions/start-method-setup.ts';
import { subscribe } from '../src/subscriptions/subscribe.ts';
import type { SubscriptionState } from '../src/subscriptions/subscription.ts';
import type { Random } from './random.ts';
import type { SimulatedSystem } from './simulated-system.ts';

const card = {
  good: '4242424242424242',
  alsoGood: '4000056655665556',
  noFundsLater: '4000000000000341',
  stolenLater: '4000000000009979',
  /** Each charge of it is taken, never answered, and costs the simulation the provider's whole call deadline. */
  neverAnswers: '4000000000009987',
} as const;

const unansweredEvery = 250;
const unansweredFirst = 7;
/** The payment system has few cards, and an instrument has one trial: most of these are refused. */
const trialEvery = 10;
const trialFirst = 3;

/** What a refused call may say to a viewer who asks for something foolish. */
const foolish = new Set(['PAYMENT_METHOD_DECLINED', 'PAYMENT_METHOD_REQUIRED', 'TOO_MANY_ATTEMPTS']);

export interface Viewer {
  readonly number: number;
  readonly userId: string;
  /** The day on which the viewer does something next, counted from the beginning. */
  actsAt: number;
  /** Begins with the card that never answers; one such charge tells as much as many. */
  unanswered: boolean;
  /** Asks for a trial the first time. */
  wantsTrial: boolean;
  readonly random: Random;
}

/** A viewer who turns up in the first half of the simulated time. */
export function createViewer(number: number, userId: string, random: Random, days: number): Viewer {
  const unanswered = number % unansweredEvery === unansweredFirst;
  const wantsTrial = number % trialEvery === trialFirst;
  return { number, userId, random, unanswered, wantsTrial, actsAt: random.between(0, Math.floor(days / 2)) };
}

/** The notice of a failed payment makes a viewer look within days. */
export function notice(viewer: Viewer, day: number): void {
  viewer.actsAt = Math.min(viewer.actsAt, day + viewer.random.between(1, 9));
}

/** Does what the viewer's state and chance suggest, through the use cases and the payment system's page. */
export async function act(system: SimulatedSystem, viewer: Viewer, day: number): Promise<void> {
  viewer.actsAt = day + viewer.random.between(7, 75);
  const ctx = system.contextOf(viewer.userId);
  const page = await listSubscriptions(ctx, { userId: viewer.userId, pageSize: 1, pageToken: '' });
  const [latest] = page.items;
  try {
    if (!latest || latest.endedAt !== null) await comeIn(system, viewer);
    else if (latest.status === 'PAST_DUE') await answerNotice(system, viewer, latest);
    else if (latest.cancelAtPeriodEnd) await reconsider(system, viewer, latest);
    else if (latest.status !== 'INCOMPLETE') await carryOn(system, viewer, latest);
  } catch (error) {
    if (!(error instanceof BillingError && foolish.has(error.reason))) throw error;
  }
}

async function comeIn(system: SimulatedSystem, viewer: Viewer): Promise<void> {
  const { random, userId } = viewer;
  const ctx = system.contextOf(userId);
  const unit = random.pick([
    [8, 'month'],
    [2, 'year'],
  ] as const);
  const offers = system.offers.filter((offer) => offer.unit === unit);
  const offer = offers[random.between(0, offers.length - 1)]!;
  const withTrial = viewer.wantsTrial && offer.hasTrial;
  if (withTrial) viewer.wantsTrial = false;
  const input = {
    requestId: randomUUID(),
    userId,
    priceId: offer.priceId,
    returnUrl: '',
    withTrial,
    email: '',
    promoCode: '',
  };
  const { checkout } = await subscribe(ctx, input);
  const doing = random.pick([
    [80, 'pay'],
    [8, 'decline, then pay'],
    [6, 'decline'],
    [6, 'leave'],
  ] as const);
  if (doing.startsWith('decline')) await submitted(system.paymentSystem.decline(checkout.url));
  if (doing.endsWith('pay')) await submitted(system.paymentSystem.pay(checkout.url, chooseCard(viewer)));
}

function chooseCard(viewer: Viewer): string {
  if (viewer.unanswered) {
    viewer.unanswered = false;
    return card.neverAnswers;
  }
  return viewer.random.pick([
    [55, card.good],
    [27, card.alsoGood],
    [12, card.noFundsLater],
    [6, card.stolenLater],
  ]);
}

/** Nothing may come of a page in the wrong state; anything else than a page means that the simulation is broken. */
async function submitted(answer: Promise<Response>): Promise<void> {
  const response = await answer;
  await response.body?.cancel();
  if (response.status >= 400) throw new Error(`the payment page answered ${response.status}`);
}

async function answerNotice(system: SimulatedSystem, viewer: Viewer, { id }: SubscriptionState): Promise<void> {
  const ctx = system.contextOf(viewer.userId);
  const doing = viewer.random.pick([
    [55, 'new card'],
    [10, 'same card again'],
    [15, 'cancel'],
    [20, 'nothing'],
  ] as const);
  if (doing === 'new card') await saveCard(system, viewer, id);
  if (doing === 'same card again') await retryPayment(ctx, { requestId: randomUUID(), subscriptionId: id, reason: '' });
  if (doing === 'cancel') await cancel(system, viewer, id, 'now');
}

async function reconsider(system: SimulatedSystem, viewer: Viewer, { id }: SubscriptionState): Promise<void> {
  if (viewer.random.next() >= 0.4) return;
  await resumeSubscription(system.contextOf(viewer.userId), {
    requestId: randomUUID(),
    subscriptionId: id,
    reason: '',
  });
}

async function carryOn(system: SimulatedSystem, viewer: Viewer, subscription: SubscriptionState): Promise<void> {
  const { id, paymentMethodId } = subscription;
  const doing = viewer.random.pick([
    [66, 'watch'],
    [10, 'cancel at the end'],
    [6, 'cancel now'],
    [14, 'new card'],
    [4, 'remove the card'],
  ] as const);
  if (doing === 'cancel at the end') await cancel(system, viewer, id, 'at-period-end');
  if (doing === 'cancel now') await cancel(system, viewer, id, 'now');
  if (doing === 'new card') await saveCard(system, viewer, id);
  if (doing === 'remove the card' && paymentMethodId !== null) {
    const input = { requestId: randomUUID(), paymentMethodId, reason: '' };
    await detachPaymentMethod(system.contextOf(viewer.userId), input);
  }
}

async function cancel(
  system: SimulatedSystem,
  viewer: Viewer,
  subscriptionId: string,
  effective: 'now' | 'at-period-end',
): Promise<void> {
  const input = { requestId: randomUUID(), subscriptionId, effective, reason: '', refund: 'policy' } as const;
  await cancelSubscription(system.contextOf(viewer.userId), input);
}

async function saveCard(system: SimulatedSystem, viewer: Viewer, subscriptionId: string): Promise<void> {
  const input = { requestId: randomUUID(), subscriptionId, returnUrl: '' };
  const { url } = await startMethodSetup(system.contextOf(viewer.userId), input);
  await submitted(system.paymentSystem.pay(url, chooseCard(viewer)));
}
