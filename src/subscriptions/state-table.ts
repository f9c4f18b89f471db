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

/** What can happen to a subscription. */
export type Trigger =
  | 'payment-succeeded'
  | 'payment-declined'
  | 'checkout-dead'
  | 'grace-ends'
  | 'dunning-ends'
  | 'cancel-at-period-end'
  | 'cancel-now'
  | 'resume'
  | 'period-ends';

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
 * shows a person what can be done. T1 (Subscribe) makes the row and so has no `from`; T5 (surplus) and T23 (an open
 * outcome) change no status and live in settle-payment.ts.
 */
export const transitions: readonly Transition[] = [
  { id: 'T2', from: 'INCOMPLETE', trigger: 'payment-succeeded', to: 'ACTIVE' },
  { id: 'T3', from: 'INCOMPLETE', trigger: 'payment-declined', to: 'INCOMPLETE' },
  { id: 'T4', from: 'INCOMPLETE', trigger: 'checkout-dead', to: 'INCOMPLETE_EXPIRED' },
  { id: 'T9', from: 'ACTIVE', trigger: 'payment-succeeded', to: 'ACTIVE' },
  { id: 'T10', from: 'ACTIVE', trigger: 'payment-declined', to: 'PAST_DUE' },
  { id: 'T11', from: 'PAST_DUE', trigger: 'payment-declined', to: 'PAST_DUE' },
  { id: 'T12', from: 'PAST_DUE', trigger: 'payment-succeeded', to: 'ACTIVE' },
  { id: 'T14', from: 'PAST_DUE', trigger: 'grace-ends', to: 'PAST_DUE' },
  { id: 'T15', from: 'PAST_DUE', trigger: 'dunning-ends', to: 'CANCELED' },
  { id: 'T16', from: 'PAST_DUE', trigger: 'cancel-at-period-end', to: 'CANCELED' },
  { id: 'T16', from: 'PAST_DUE', trigger: 'cancel-now', to: 'CANCELED' },
  { id: 'T17', from: 'ACTIVE', trigger: 'cancel-at-period-end', flagged: false, to: 'ACTIVE' },
  { id: 'T18', from: 'ACTIVE', trigger: 'resume', flagged: true, to: 'ACTIVE' },
  { id: 'T19', from: 'ACTIVE', trigger: 'period-ends', flagged: true, to: 'CANCELED' },
  { id: 'T20', from: 'ACTIVE', trigger: 'cancel-now', to: 'CANCELED' },
];

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
