import type { CallContext } from '../identity/call-context.ts';
import { WebhookEvent } from '../payments/webhook-event.ts';
import { SubscriptionEvent } from '../subscriptions/subscription-event.ts';
import { Subscription, type SubscriptionState } from '../subscriptions/subscription.ts';
import { requirePaymentRecord, type PaymentRecord } from './payment-record.ts';

const rowsMax = 100;
const aroundHours = 24;

export interface PaymentExplanation extends PaymentRecord {
  readonly subscription: SubscriptionState;
  readonly due: {
    readonly kind: 'INITIAL' | 'RENEWAL' | 'METHOD_SETUP' | 'PLAN_CHANGE';
    readonly cycle: number | undefined;
  };
  readonly notices: readonly WebhookEvent[];
  /** From a day before the payment to a day after it was settled, oldest first. */
  readonly history: readonly SubscriptionEvent[];
}

/** Everything about one payment: why it was due, what was tried, what was heard of it. Throws PAYMENT_NOT_FOUND. */
export async function explainPayment(
  ctx: CallContext,
  { paymentId }: { paymentId: string },
): Promise<PaymentExplanation> {
  const em = ctx.em.fork();
  const record = await requirePaymentRecord(em, paymentId);
  const { payment, attempts } = record;
  const { subscriptionId, createdAt, settledAt } = payment;
  const subscription = await em.findOneOrFail(Subscription, { id: subscriptionId }, { populate: ['plan', 'price'] });
  const known = attempts.flatMap(({ attempt }) => attempt.providerPaymentId ?? []);
  const references = attempts.map(({ attempt }) => attempt.id);
  const notices = await em.find(
    WebhookEvent,
    { $or: [{ providerPaymentId: { $in: known } }, { reference: { $in: references } }] },
    { orderBy: { receivedAt: 'asc' }, limit: rowsMax },
  );
  const history = await em.find(
    SubscriptionEvent,
    {
      subscriptionId,
      occurredAt: {
        $gte: createdAt.subtract({ hours: aroundHours }),
        ...(settledAt && { $lte: settledAt.add({ hours: aroundHours }) }),
      },
    },
    { orderBy: { occurredAt: 'asc', id: 'asc' }, limit: rowsMax },
  );
  return { ...record, subscription, due: dueOf(payment.purpose), notices, history };
}

function dueOf(purpose: string): PaymentExplanation['due'] {
  const [kind, cycle] = purpose.split(':');
  if (kind === 'initial') return { kind: 'INITIAL', cycle: 0 };
  if (kind === 'cycle') return { kind: 'RENEWAL', cycle: Number(cycle) };
  if (kind === 'change') return { kind: 'PLAN_CHANGE', cycle: undefined };
  return { kind: 'METHOD_SETUP', cycle: undefined };
}
