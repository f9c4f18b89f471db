import test from 'ava';
import { AccessReason } from '@cinema-billing/gen/billing/admin/v1/customer_admin_service_pb.ts';
import { AttemptState, DisputeState, DueKind } from '@cinema-billing/gen/billing/admin/v1/payment_admin_service_pb.ts';
import { RefundPolicy } from '@cinema-billing/gen/billing/admin/v1/plan_admin_service_pb.ts';
import {
  ChargeOutcome,
  DeliveryState,
  NoticeFault,
} from '@cinema-billing/gen/billing/sandbox/v1/sandbox_service_pb.ts';
import { PaymentStatus } from '@cinema-billing/gen/billing/v1/payment_pb.ts';
import { IntervalUnit } from '@cinema-billing/gen/billing/v1/plan_pb.ts';
import {
  ActorKind,
  SubscriptionEventKind,
  SubscriptionStatus,
} from '@cinema-billing/gen/billing/v1/subscription_pb.ts';
import { words } from '../../admin-web/src/words.ts';

/** Whose numbers the panel says, and how its words for them begin. */
const said: [prefix: string, Record<string | number, string | number>, except: number[]][] = [
  ['event', SubscriptionEventKind, []],
  ['actor', ActorKind, [0]],
  ['status', SubscriptionStatus, []],
  ['pay', PaymentStatus, []],
  ['try', AttemptState, []],
  ['dispute', DisputeState, [0]],
  ['due', DueKind, []],
  ['refund', RefundPolicy, []],
  ['unit', IntervalUnit, [0]],
  ['access', AccessReason, [0]],
  // That a charge is paid is what cards do anyway.
  ['outcome', ChargeOutcome, [1]],
  ['fault', NoticeFault, []],
  ['delivery', DeliveryState, []],
];

test('the panel has a word, in both languages, for every state that the contract knows', (t) => {
  const missing = said.flatMap(([prefix, names, except]) =>
    Object.values(names)
      .filter((value) => typeof value === 'number' && !except.includes(value))
      .map((value) => `${prefix}_${value}`)
      .filter((word) => {
        const texts = (words as Record<string, readonly string[]>)[word];
        return texts === undefined || texts.length !== 2 || texts.includes('');
      }),
  );
  t.deepEqual(missing, []);
});
