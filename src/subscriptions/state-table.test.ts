import test from 'ava';
import { findTransition, subscriptionStatuses, type SubscriptionStatus, type Trigger } from './state-table.ts';

/**
 * Written by hand from design/1-domain.md, not from the table: for each status (without and with a cancellation at the
 * period's end) what each trigger leads to; a dash is a refusal.
 */
const triggers: Trigger[] = [
  'payment-succeeded',
  'payment-declined',
  'checkout-dead',
  'grace-ends',
  'dunning-ends',
  'cancel-at-period-end',
  'cancel-now',
  'resume',
  'period-ends',
];
const expected: Record<SubscriptionStatus, { unflagged: string; flagged: string }> = {
  //                              succeeded  declined   dead               grace    dunning  at end   now      resume period
  INCOMPLETE: {
    unflagged: 'ACTIVE   INCOMPLETE INCOMPLETE_EXPIRED -        -        -        -        -      -',
    flagged: 'ACTIVE   INCOMPLETE INCOMPLETE_EXPIRED -        -        -        -        -      -',
  },
  INCOMPLETE_EXPIRED: {
    unflagged: '-        -          -                  -        -        -        -        -      -',
    flagged: '-        -          -                  -        -        -        -        -      -',
  },
  TRIALING: {
    unflagged: '-        -          -                  -        -        -        -        -      -',
    flagged: '-        -          -                  -        -        -        -        -      -',
  },
  ACTIVE: {
    unflagged: 'ACTIVE   PAST_DUE   -                  -        -        ACTIVE   CANCELED -      -',
    flagged: 'ACTIVE   PAST_DUE   -                  -        -        -        CANCELED ACTIVE CANCELED',
  },
  PAST_DUE: {
    unflagged: 'ACTIVE   PAST_DUE   -                  PAST_DUE CANCELED CANCELED CANCELED -      -',
    flagged: 'ACTIVE   PAST_DUE   -                  PAST_DUE CANCELED CANCELED CANCELED -      -',
  },
  CANCELED: {
    unflagged: '-        -          -                  -        -        -        -        -      -',
    flagged: '-        -          -                  -        -        -        -        -      -',
  },
};

for (const status of subscriptionStatuses) {
  for (const [flag, cancelAtPeriodEnd] of [
    ['unflagged', false],
    ['flagged', true],
  ] as const) {
    test(`what can happen to a subscription that is ${status}, ${flag}`, (t) => {
      const row = expected[status][flag].split(/\s+/);
      t.is(row.length, triggers.length);
      for (const [column, trigger] of triggers.entries()) {
        t.is(
          findTransition({ status, cancelAtPeriodEnd }, trigger)?.to ?? '-',
          row[column] as SubscriptionStatus | '-',
          trigger,
        );
      }
    });
  }
}
