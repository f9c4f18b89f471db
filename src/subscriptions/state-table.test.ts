import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { stateTablePage } from './state-table-page.ts';
import {
  allowedCommands,
  findTransition,
  subscriptionStatuses,
  transitions,
  triggers,
  type Command,
  type SubscriptionStatus,
  type Trigger,
} from './state-table.ts';

/**
 * Written by hand from design/1-domain.md, not from the table: for each status (without and with a cancellation at the
 * period's end) what each trigger leads to; a dash is a refusal.
 */
const columns: Trigger[] = [
  'payment-succeeded',
  'payment-declined',
  'payment-declined-hard',
  'trial-confirmed',
  'checkout-dead',
  'grace-ends',
  'dunning-ends',
  'period-ends',
  'funds-withdrawn',
  'funds-reinstated',
  'dispute-lost',
  'disputed-period-ends',
  'cancel-at-period-end',
  'cancel-now',
  'resume',
  'change-method',
  'remove-method',
  'retry-payment',
  'extend',
  'change-plan-now',
  'change-plan-at-period-end',
  'change-paid',
  'change-failed',
];
const [A, P, C, T, I, E] = ['ACTIVE', 'PAST_DUE', 'CANCELED', 'TRIALING', 'INCOMPLETE', 'INCOMPLETE_EXPIRED'] as const;
type Cell = SubscriptionStatus | '-';
const none: Cell[] = columns.map(() => '-');
const expected: Record<SubscriptionStatus, { unflagged: Cell[]; flagged: Cell[] }> = {
  //                  paid soft hard trial dead grace dunn. per. withd. reinst. lost disp. atEnd now  undo chg. rem. retry extend now+ later c.ok c.no
  INCOMPLETE: {
    unflagged: [A, I, I, T, E, '-', '-', '-', '-', '-', '-', '-', E, E, '-', '-', '-', '-', '-', '-', '-', '-', '-'],
    flagged: [A, I, I, T, E, '-', '-', '-', '-', '-', '-', '-', E, E, '-', '-', '-', '-', '-', '-', '-', '-', '-'],
  },
  INCOMPLETE_EXPIRED: { unflagged: none, flagged: none },
  TRIALING: {
    unflagged: [A, P, C, '-', '-', '-', '-', '-', T, T, '-', C, T, C, '-', T, T, '-', '-', T, '-', '-', '-'],
    flagged: [A, P, C, '-', '-', '-', '-', C, T, T, '-', '-', '-', C, T, T, T, '-', '-', '-', '-', '-', '-'],
  },
  ACTIVE: {
    unflagged: [A, P, P, '-', '-', '-', '-', '-', A, A, C, C, A, C, '-', A, A, '-', A, A, A, A, A],
    flagged: [A, P, P, '-', '-', '-', '-', C, A, A, C, '-', '-', C, A, A, A, '-', A, '-', '-', A, A],
  },
  PAST_DUE: {
    unflagged: [A, P, P, '-', '-', P, C, '-', P, P, C, '-', C, C, '-', P, P, P, '-', '-', '-', '-', '-'],
    flagged: [A, P, P, '-', '-', P, C, '-', P, P, C, '-', C, C, '-', P, P, P, '-', '-', '-', '-', '-'],
  },
  CANCELED: { unflagged: none, flagged: none },
};
/** Also by hand: what a person may ask for. */
const expectedCommands: [SubscriptionStatus, boolean, string[]][] = [
  ['INCOMPLETE', false, ['cancel-at-period-end', 'cancel-now']],
  ['TRIALING', false, ['cancel-at-period-end', 'cancel-now', 'change-method', 'remove-method', 'change-plan-now']],
  ['TRIALING', true, ['cancel-now', 'resume', 'change-method', 'remove-method']],
  [
    'ACTIVE',
    false,
    [
      'cancel-at-period-end',
      'cancel-now',
      'change-method',
      'remove-method',
      'extend',
      'change-plan-now',
      'change-plan-at-period-end',
    ],
  ],
  ['ACTIVE', true, ['cancel-now', 'resume', 'change-method', 'remove-method', 'extend']],
  ['PAST_DUE', false, ['cancel-at-period-end', 'cancel-now', 'change-method', 'remove-method', 'retry-payment']],
  ['INCOMPLETE_EXPIRED', false, []],
  ['CANCELED', false, []],
];

for (const status of subscriptionStatuses) {
  for (const [flag, cancelAtPeriodEnd] of [
    ['unflagged', false],
    ['flagged', true],
  ] as const) {
    test(`what can happen to a subscription that is ${status}, ${flag}`, (t) => {
      const row = expected[status][flag];
      t.is(row.length, columns.length);
      for (const [column, trigger] of columns.entries()) {
        t.is(findTransition({ status, cancelAtPeriodEnd }, trigger)?.to ?? '-', row[column]!, trigger);
      }
    });
  }
}

for (const [status, cancelAtPeriodEnd, names] of expectedCommands) {
  test(`what may be asked for: ${status}${cancelAtPeriodEnd ? ', flagged' : ''}`, (t) => {
    t.deepEqual(allowedCommands({ status, cancelAtPeriodEnd }), names as Command[]);
  });
}

test('the hand-written matrix has every trigger, and every row of the table is somewhere in it', (t) => {
  t.deepEqual(columns.toSorted(), Object.keys(triggers).toSorted() as Trigger[]);
  t.is(transitions.length, 51);
});

test('docs/subscription-states.md says what the table says', (t) => {
  const page = readFileSync(join(import.meta.dirname, '../../docs/subscription-states.md'), 'utf8');
  t.is(page, stateTablePage());
  t.true(page.includes('| ACTIVE, flagged'));
});
