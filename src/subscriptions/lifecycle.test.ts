import test from 'ava';
import { cancel, resume } from './commands.ts';
import { grantOf } from './lease.ts';
import { activate, declineRenewal, end, endGrace, renew } from './lifecycle.ts';
import type { SubscriptionState } from './subscription.ts';

const at = (text: string) => Temporal.Instant.from(text);
const marginHours = 72;

/** Taken out and paid on 31 January 2027 at 12:00 UTC, monthly. */
const active: SubscriptionState = {
  id: '0190a000-0000-7000-8000-000000000001',
  userId: '0190a000-0000-4000-8000-000000000002',
  planCode: 'premium',
  features: ['catalog.premieres', 'video.uhd'],
  productLine: 'cinema',
  priceId: '0190a000-0000-7000-8000-000000000003',
  amount: { currencyCode: 'RUB', amountMinor: 99_900n },
  intervalUnit: 'month',
  intervalCount: 1,
  billingTimeZone: 'UTC',
  status: 'ACTIVE',
  anchorAt: at('2027-01-31T12:00:00Z'),
  anchorCycle: 0,
  cycle: 0,
  currentPeriodStart: at('2027-01-31T12:00:00Z'),
  currentPeriodEnd: at('2027-02-28T12:00:00Z'),
  paymentMethodId: '0190a000-0000-7000-8000-000000000004',
  openPaymentId: '0190a000-0000-7000-8000-000000000005',
  cancelAtPeriodEnd: false,
  renewalBlocked: false,
  scheduledPriceId: null,
  announcedPriceId: null,
  announcedPriceFrom: null,
  complimentary: false,
  graceUntil: null,
  dunningEndsAt: null,
  nextChargeAt: at('2027-02-28T12:00:00Z'),
  nextTransitionAt: null,
  canceledAt: null,
  endedAt: null,
  createdAt: at('2027-01-31T11:50:00Z'),
};
const march = { cycle: 1, start: at('2027-02-28T12:00:00Z'), end: at('2027-03-31T12:00:00Z') };
const soft = { declineCode: 'insufficient_funds', hard: false, superseded: false };

function leaseOf(state: SubscriptionState): string | undefined {
  return grantOf(state, marginHours)?.access_until;
}

test('the lease of what will renew reaches 72 hours past the paid period', (t) => {
  t.is(leaseOf(active), '2027-03-03T12:00:00.000Z');
});

test('the lease of what ends with its period, or has no payment method, ends exactly with it', (t) => {
  t.is(leaseOf(cancel(active, 'at-period-end', 'X', at('2027-02-10T00:00:00Z')).after), '2027-02-28T12:00:00.000Z');
  t.is(leaseOf({ ...active, paymentMethodId: null }), '2027-02-28T12:00:00.000Z');
});

test('neither an unpaid nor an ended subscription gives a lease', (t) => {
  t.is(leaseOf({ ...active, status: 'INCOMPLETE' }), undefined);
  t.is(leaseOf(cancel(active, 'now', 'X', at('2027-02-10T00:00:00Z')).after), undefined);
});

test('the first payment starts the period at its own instant, which becomes the anchor', (t) => {
  const unpaid: SubscriptionState = {
    ...active,
    status: 'INCOMPLETE',
    anchorAt: null,
    currentPeriodStart: null,
    currentPeriodEnd: null,
    nextChargeAt: null,
    paymentMethodId: null,
  };
  const { after, entitlement } = activate(unpaid, 'method', at('2027-01-31T12:00:00Z'));
  t.is(after.anchorAt?.toString(), '2027-01-31T12:00:00Z');
  t.is(after.currentPeriodEnd?.toString(), '2027-02-28T12:00:00Z');
  t.is(after.nextChargeAt?.toString(), '2027-02-28T12:00:00Z');
  t.is(entitlement?.kind, 'GRANTED');
});

test('a renewal that succeeds late keeps the period that was due', (t) => {
  const { after, entitlement } = renew(active, march, at('2027-03-02T08:00:00Z'));
  t.is(after.currentPeriodStart?.toString(), '2027-02-28T12:00:00Z');
  t.is(after.currentPeriodEnd?.toString(), '2027-03-31T12:00:00Z');
  t.is(after.openPaymentId, null);
  t.is(entitlement?.kind, 'EXTENDED');
});

test('the first decline stores both deadlines, and later ones do not move them', (t) => {
  const first = declineRenewal(active, soft, at('2027-02-28T12:00:05Z'));
  t.is(first.after.status, 'PAST_DUE');
  t.is(first.after.graceUntil?.toString(), '2027-03-07T12:00:05Z');
  t.is(first.after.dunningEndsAt?.toString(), '2027-03-14T12:00:05Z');
  t.regex(String(first.after.nextChargeAt), /^2027-03-01T1[2-7]:/);
  t.is(first.entitlement?.kind, 'GRACE_STARTED');
  t.is(leaseOf(first.after), '2027-03-07T12:00:05.000Z');
  const second = declineRenewal(first.after, soft, at('2027-03-01T18:00:09Z'));
  t.is(second.after.dunningEndsAt?.toString(), '2027-03-14T12:00:05Z');
  t.regex(String(second.after.nextChargeAt), /^2027-03-03T1[2-7]:/);
  t.is(second.entitlement, undefined);
});

test('a hard decline is not tried again', (t) => {
  const { after } = declineRenewal(
    active,
    { declineCode: 'stolen_card', hard: true, superseded: false },
    at('2027-02-28T12:00:05Z'),
  );
  t.is(after.nextChargeAt, null);
  t.is(after.nextTransitionAt?.toString(), '2027-03-07T12:00:05Z');
});

test('recovery inside the grace keeps the bounds; after access had lapsed it sells no lost time', (t) => {
  const declined = declineRenewal(active, soft, at('2027-02-28T12:00:00Z')).after;
  const inGrace = renew(declined, march, at('2027-03-03T10:00:00Z'));
  t.is(inGrace.after.currentPeriodEnd?.toString(), '2027-03-31T12:00:00Z');
  t.is(inGrace.after.dunningEndsAt, null);
  t.is(inGrace.entitlement?.kind, 'EXTENDED');

  const lapsed = renew(endGrace(declined).after, march, at('2027-03-10T10:00:00Z'));
  t.is(lapsed.after.currentPeriodStart?.toString(), '2027-03-10T10:00:00Z');
  t.is(lapsed.after.currentPeriodEnd?.toString(), '2027-04-10T10:00:00Z');
  t.is(lapsed.after.anchorAt?.toString(), '2027-03-10T10:00:00Z');
  t.is(lapsed.after.cycle, 1);
  t.is(lapsed.entitlement?.kind, 'GRANTED');
});

test('access has lapsed at the end of the grace, even before the loop has noticed', (t) => {
  const declined = declineRenewal(active, soft, at('2027-02-28T12:00:00Z')).after;
  t.is(renew(declined, march, at('2027-03-07T11:59:59Z')).after.anchorAt?.toString(), '2027-01-31T12:00:00Z');
  t.is(renew(declined, march, at('2027-03-07T12:00:00Z')).after.anchorAt?.toString(), '2027-03-07T12:00:00Z');
});

test('a charge that was sent before a cancellation at the end renews once more and still ends', (t) => {
  const flagged = cancel(active, 'at-period-end', 'X', at('2027-02-28T12:00:01Z')).after;
  const renewed = renew(flagged, march, at('2027-02-28T12:00:02Z')).after;
  t.is(renewed.currentPeriodEnd?.toString(), '2027-03-31T12:00:00Z');
  t.is(renewed.nextChargeAt, null);
  t.is(renewed.nextTransitionAt?.toString(), '2027-03-31T12:00:00Z');
  const declined = declineRenewal(flagged, soft, at('2027-02-28T12:00:02Z'));
  t.is(declined.after.status, 'ACTIVE');
  t.is(declined.entitlement, undefined);
});

test('an undone cancellation is possible before the end of the period and not at it', (t) => {
  const flagged = cancel({ ...active, openPaymentId: null }, 'at-period-end', 'X', at('2027-02-10T00:00:00Z')).after;
  t.is(resume(flagged, at('2027-02-28T11:59:59Z')).after.nextChargeAt?.toString(), '2027-02-28T12:00:00Z');
  t.throws(() => resume(flagged, at('2027-02-28T12:00:00Z')), { message: /not possible/ });
});

test('what ends has nothing left to happen to it', (t) => {
  const flagged = cancel({ ...active, openPaymentId: null }, 'at-period-end', 'X', at('2027-02-10T00:00:00Z')).after;
  const { after, entitlement } = end(flagged, 'period-ends', at('2027-02-28T12:00:00Z'));
  t.like(after, { status: 'CANCELED', openPaymentId: null, nextChargeAt: null, nextTransitionAt: null });
  t.is(after.endedAt?.toString(), '2027-02-28T12:00:00Z');
  t.is(entitlement?.kind, 'REVOKED');
});

test("Auth is told codes, never a person's words", (t) => {
  t.is(
    cancel(active, 'now', 'my neighbour Ivan is too loud', at('2027-02-10T00:00:00Z')).entitlement?.reason,
    'CANCELED',
  );
});
