import { BillingError } from '../lib/billing-error.ts';

export const subscriptionStatuses = [
  'INCOMPLETE',
  'INCOMPLETE_EXPIRED',
  'TRIALING',
  'ACTIVE',
  'PAST_DUE',
  'CANCELED',
] as const;
export type SubscriptionStatus = (typeof subscriptionStatuses)[number];

/** What can happen to a subscription: what others tell of, what time brings, and what somebody commands. */
export const triggers = {
  'payment-succeeded': 'the payment that it waits for succeeded',
  'payment-declined': 'that payment was declined, or needs the customer',
  'payment-declined-hard': 'that payment was declined for good',
  'change-paid': 'the payment for another plan succeeded',
  'change-failed': 'that payment was declined, or its time is over',
  'trial-confirmed': 'the method for a trial is saved, and the trial is the first',
  'checkout-dead': 'its checkout is over, which the payment system has confirmed',
  'grace-ends': 'the grace period ends',
  'dunning-ends': 'the dunning ends',
  'period-ends': 'the period ends',
  'funds-withdrawn': 'money of it is disputed, and withdrawn',
  'funds-reinstated': 'the disputed money came back',
  'dispute-lost': 'the money of the current period is lost in a dispute',
  'disputed-period-ends': 'the period ends during a dispute, or after a lost one',
  'cancel-at-period-end': 'CancelSubscription, at the end of the period',
  'cancel-now': 'CancelSubscription, now',
  resume: 'ResumeSubscription',
  'change-method': 'another payment method is saved or chosen',
  'remove-method': 'its payment method is removed',
  'retry-payment': 'RetryPayment',
  extend: 'ExtendPeriod',
  'change-plan-now': 'ChangePlan, to a price that applies at once',
  'change-plan-at-period-end': 'ChangePlan, to a price that applies at the end of the period',
} as const;
export type Trigger = keyof typeof triggers;

/** Those of them that a person or a service may ask for. */
export const commands = [
  'cancel-at-period-end',
  'cancel-now',
  'resume',
  'change-method',
  'remove-method',
  'retry-payment',
  'extend',
  'change-plan-now',
  'change-plan-at-period-end',
] as const satisfies readonly Trigger[];
export type Command = (typeof commands)[number];

export interface Transition {
  /** The row of the design's table. */
  readonly id: `T${number}`;
  readonly from: SubscriptionStatus;
  readonly trigger: Trigger;
  /** Guard: whether a cancellation at the period's end must be scheduled, or must not be; either when absent. */
  readonly flagged?: boolean;
  readonly to: SubscriptionStatus;
}

/**
 * The life of a subscription as data. A pair that is not listed is refused. It drives the guard here, and whatever
 * shows a person what can be done. T1 (Subscribe) and T25's gift make the row and so have no `from`; T5 (surplus) and
 * T23 (an open outcome) change no status and live in decide-success.ts and decide-without-money.ts; T26 is every pair of the two last statuses.
 */
export const transitions: readonly Transition[] = [
  { id: 'T2', from: 'INCOMPLETE', trigger: 'payment-succeeded', to: 'ACTIVE' },
  { id: 'T3', from: 'INCOMPLETE', trigger: 'payment-declined', to: 'INCOMPLETE' },
  { id: 'T3', from: 'INCOMPLETE', trigger: 'payment-declined-hard', to: 'INCOMPLETE' },
  { id: 'T4', from: 'INCOMPLETE', trigger: 'checkout-dead', to: 'INCOMPLETE_EXPIRED' },
  { id: 'T4', from: 'INCOMPLETE', trigger: 'cancel-at-period-end', to: 'INCOMPLETE_EXPIRED' },
  { id: 'T4', from: 'INCOMPLETE', trigger: 'cancel-now', to: 'INCOMPLETE_EXPIRED' },
  { id: 'T6', from: 'INCOMPLETE', trigger: 'trial-confirmed', to: 'TRIALING' },
  { id: 'T7', from: 'TRIALING', trigger: 'payment-succeeded', to: 'ACTIVE' },
  { id: 'T8', from: 'TRIALING', trigger: 'payment-declined', to: 'PAST_DUE' },
  { id: 'T8', from: 'TRIALING', trigger: 'payment-declined-hard', to: 'CANCELED' },
  { id: 'T9', from: 'ACTIVE', trigger: 'payment-succeeded', to: 'ACTIVE' },
  { id: 'T10', from: 'ACTIVE', trigger: 'payment-declined', to: 'PAST_DUE' },
  { id: 'T10', from: 'PAST_DUE', trigger: 'payment-declined', to: 'PAST_DUE' },
  { id: 'T11', from: 'ACTIVE', trigger: 'payment-declined-hard', to: 'PAST_DUE' },
  { id: 'T11', from: 'PAST_DUE', trigger: 'payment-declined-hard', to: 'PAST_DUE' },
  { id: 'T12', from: 'PAST_DUE', trigger: 'payment-succeeded', to: 'ACTIVE' },
  { id: 'T13', from: 'PAST_DUE', trigger: 'change-method', to: 'PAST_DUE' },
  { id: 'T13', from: 'PAST_DUE', trigger: 'retry-payment', to: 'PAST_DUE' },
  { id: 'T13', from: 'ACTIVE', trigger: 'change-method', to: 'ACTIVE' },
  { id: 'T13', from: 'TRIALING', trigger: 'change-method', to: 'TRIALING' },
  { id: 'T14', from: 'PAST_DUE', trigger: 'grace-ends', to: 'PAST_DUE' },
  { id: 'T15', from: 'PAST_DUE', trigger: 'dunning-ends', to: 'CANCELED' },
  { id: 'T16', from: 'PAST_DUE', trigger: 'cancel-at-period-end', to: 'CANCELED' },
  { id: 'T16', from: 'PAST_DUE', trigger: 'cancel-now', to: 'CANCELED' },
  { id: 'T17', from: 'ACTIVE', trigger: 'cancel-at-period-end', flagged: false, to: 'ACTIVE' },
  { id: 'T17', from: 'TRIALING', trigger: 'cancel-at-period-end', flagged: false, to: 'TRIALING' },
  { id: 'T18', from: 'ACTIVE', trigger: 'resume', flagged: true, to: 'ACTIVE' },
  { id: 'T18', from: 'TRIALING', trigger: 'resume', flagged: true, to: 'TRIALING' },
  { id: 'T19', from: 'ACTIVE', trigger: 'period-ends', flagged: true, to: 'CANCELED' },
  { id: 'T19', from: 'TRIALING', trigger: 'period-ends', flagged: true, to: 'CANCELED' },
  { id: 'T20', from: 'ACTIVE', trigger: 'cancel-now', to: 'CANCELED' },
  { id: 'T20', from: 'TRIALING', trigger: 'cancel-now', to: 'CANCELED' },
  { id: 'T21', from: 'ACTIVE', trigger: 'change-plan-now', flagged: false, to: 'ACTIVE' },
  { id: 'T21', from: 'TRIALING', trigger: 'change-plan-now', flagged: false, to: 'TRIALING' },
  { id: 'T21', from: 'ACTIVE', trigger: 'change-paid', to: 'ACTIVE' },
  { id: 'T21', from: 'ACTIVE', trigger: 'change-failed', to: 'ACTIVE' },
  { id: 'T22', from: 'ACTIVE', trigger: 'change-plan-at-period-end', flagged: false, to: 'ACTIVE' },
  { id: 'T24', from: 'ACTIVE', trigger: 'funds-withdrawn', to: 'ACTIVE' },
  { id: 'T24', from: 'TRIALING', trigger: 'funds-withdrawn', to: 'TRIALING' },
  { id: 'T24', from: 'PAST_DUE', trigger: 'funds-withdrawn', to: 'PAST_DUE' },
  { id: 'T24', from: 'ACTIVE', trigger: 'funds-reinstated', to: 'ACTIVE' },
  { id: 'T24', from: 'TRIALING', trigger: 'funds-reinstated', to: 'TRIALING' },
  { id: 'T24', from: 'PAST_DUE', trigger: 'funds-reinstated', to: 'PAST_DUE' },
  { id: 'T24', from: 'ACTIVE', trigger: 'dispute-lost', to: 'CANCELED' },
  { id: 'T24', from: 'PAST_DUE', trigger: 'dispute-lost', to: 'CANCELED' },
  { id: 'T24', from: 'ACTIVE', trigger: 'disputed-period-ends', flagged: false, to: 'CANCELED' },
  { id: 'T24', from: 'TRIALING', trigger: 'disputed-period-ends', flagged: false, to: 'CANCELED' },
  { id: 'T25', from: 'ACTIVE', trigger: 'extend', to: 'ACTIVE' },
  { id: 'T27', from: 'ACTIVE', trigger: 'remove-method', to: 'ACTIVE' },
  { id: 'T27', from: 'TRIALING', trigger: 'remove-method', to: 'TRIALING' },
  { id: 'T27', from: 'PAST_DUE', trigger: 'remove-method', to: 'PAST_DUE' },
];

/** What may be asked for now: for the panel's buttons and for whoever has to explain a refusal. */
export function allowedCommands(state: { status: SubscriptionStatus; cancelAtPeriodEnd: boolean }): Command[] {
  return commands.filter((command) => findTransition(state, command) !== undefined);
}

/** The row for a status and a trigger, or undefined when the table has none. */
export function findTransition(
  state: { status: SubscriptionStatus; cancelAtPeriodEnd: boolean },
  trigger: Trigger,
): Transition | undefined {
  return transitions.find(
    (row) =>
      row.from === state.status &&
      row.trigger === trigger &&
      (row.flagged === undefined || row.flagged === state.cancelAtPeriodEnd),
  );
}

/** The row for a status and a trigger. Throws ILLEGAL_TRANSITION. */
export function requireTransition(
  state: { status: SubscriptionStatus; cancelAtPeriodEnd: boolean },
  trigger: Trigger,
): Transition {
  const transition = findTransition(state, trigger);
  if (!transition) throw illegalTransition(state, trigger);
  return transition;
}

/** The error for a command that the subscription's state does not allow. */
export function illegalTransition(
  state: { status: SubscriptionStatus; cancelAtPeriodEnd: boolean },
  trigger: Trigger,
): BillingError {
  const flag = state.cancelAtPeriodEnd ? ', ends with its period' : '';
  return new BillingError(
    'wrong-state',
    'ILLEGAL_TRANSITION',
    `not possible for a subscription that is ${state.status}${flag}`,
    {
      metadata: { status: state.status, trigger },
    },
  );
}
