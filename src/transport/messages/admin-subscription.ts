import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  RefundChoice as ProtoChoice,
  SubscriptionCommand,
  type AdminSubscriptionSchema,
} from '@cinema-billing/gen/billing/admin/v1/subscription_admin_service_pb.ts';
import { SubscriptionStatus as ProtoStatus } from '@cinema-billing/gen/billing/v1/subscription_pb.ts';
import type { SubscriptionRecord } from '../../admin/subscription-record.ts';
import type { RefundChoice } from '../../subscriptions/cancellation-refund.ts';
import { allowedCommands, type Command, type SubscriptionStatus } from '../../subscriptions/state-table.ts';
import { enumName } from './enum-name.ts';
import { presentTimestamps } from './instant.ts';
import { toPaymentMethodMessage } from './payment.ts';
import { toSubscriptionMessage } from './subscription.ts';

const protoCommands: Record<Command, SubscriptionCommand> = {
  'cancel-at-period-end': SubscriptionCommand.CANCEL_AT_PERIOD_END,
  'cancel-now': SubscriptionCommand.CANCEL_NOW,
  resume: SubscriptionCommand.RESUME,
  'change-method': SubscriptionCommand.CHANGE_METHOD,
  'remove-method': SubscriptionCommand.REMOVE_METHOD,
  'retry-payment': SubscriptionCommand.RETRY_PAYMENT,
  extend: SubscriptionCommand.EXTEND,
  'change-plan-now': SubscriptionCommand.CHANGE_PLAN_NOW,
  'change-plan-at-period-end': SubscriptionCommand.CHANGE_PLAN_AT_PERIOD_END,
};

/** A subscription as operators see it. */
export function toAdminSubscriptionMessage({
  state,
  method,
}: SubscriptionRecord): MessageInitShape<typeof AdminSubscriptionSchema> {
  return {
    subscription: toSubscriptionMessage(state),
    complimentary: state.complimentary,
    ...presentTimestamps({ graceUntil: state.graceUntil, dunningEndsAt: state.dunningEndsAt }),
    ...(method && { paymentMethod: toPaymentMethodMessage(method, true) }),
    openPaymentId: state.openPaymentId ?? '',
    allowedCommands: allowedCommands(state).map((command) => protoCommands[command]),
  };
}

/** What goes back with a cancellation now. */
export function fromRefundChoice(choice: ProtoChoice): RefundChoice {
  switch (choice) {
    case ProtoChoice.NONE:
      return 'none';
    case ProtoChoice.PRORATED:
      return 'prorated';
    case ProtoChoice.FULL:
      return 'full';
    default:
      return 'policy';
  }
}

/** A status to filter by; undefined for all. */
export function fromSubscriptionStatus(status: ProtoStatus): SubscriptionStatus | undefined {
  return enumName(ProtoStatus, status);
}
