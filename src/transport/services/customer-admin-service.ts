import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  AccessReason,
  CustomerOrder,
  ListCustomersRequestSchema,
  type CustomerAdminService,
  type ListCustomersRequest,
  type ProductLineAccessSchema,
} from '@cinema-billing/gen/billing/admin/v1/customer_admin_service_pb.ts';
import { eraseCustomer } from '../../admin/erase-customer.ts';
import { exportCustomers } from '../../admin/export-customers.ts';
import { getCustomer, type ProductLineAccess } from '../../admin/get-customer.ts';
import { listCustomerHistory } from '../../admin/list-customer-history.ts';
import { listCustomers, type ListCustomersInput } from '../../admin/list-customers.ts';
import type { PaymentsContext } from '../../payments/providers.ts';
import type { SubscriptionsContext } from '../../subscriptions/subscription-rows.ts';
import type { Call } from '../call.ts';
import { fromSubscriptionStatus } from '../messages/admin-subscription.ts';
import { presentTimestamps, toTimestamp } from '../messages/instant.ts';
import { toPaymentMethodMessage } from '../messages/payment.ts';
import { toSubscriptionEventMessage, toSubscriptionMessage } from '../messages/subscription.ts';
import type { ServiceImpl } from '../router.ts';

/** The registry of everyone who ever subscribed. */
export function customerAdminService(
  contextOf: (call: Call) => SubscriptionsContext & PaymentsContext,
): ServiceImpl<typeof CustomerAdminService> {
  return {
    async listCustomers(call, request) {
      const { items, nextPageToken } = await listCustomers(contextOf(call), fromSearch(request));
      const customers = items.map(({ userId, createdAt, newest, subscriptions }) => ({
        userId,
        createdAt: toTimestamp(createdAt),
        ...(newest && { subscription: toSubscriptionMessage(newest) }),
        subscriptionCount: BigInt(subscriptions),
      }));
      return { customers, nextPageToken };
    },
    exportCustomers(call, { search }) {
      return exportCustomers(contextOf(call), fromSearch(search ?? create(ListCustomersRequestSchema)));
    },
    async getCustomer(call, { userId }) {
      const customer = await getCustomer(contextOf(call), { userId: userId.toLowerCase() });
      const open = customer.subscriptions.filter(({ endedAt }) => endedAt === null);
      const charged = new Set(open.map(({ paymentMethodId }) => paymentMethodId));
      return {
        customer: {
          userId: customer.userId,
          createdAt: toTimestamp(customer.createdAt),
          access: customer.access.map(toAccessMessage),
          subscriptions: customer.subscriptions.map(toSubscriptionMessage),
          paymentMethods: customer.methods.map((method) => toPaymentMethodMessage(method, charged.has(method.id))),
          entitlementVersion: customer.entitlementVersion,
          publishedVersion: customer.publishedVersion,
        },
      };
    },
    async listCustomerHistory(call, { pageSize, pageToken, userId }) {
      const input = { pageSize, pageToken, userId: userId.toLowerCase() };
      const { items, nextPageToken } = await listCustomerHistory(contextOf(call), input);
      return { events: items.map(toSubscriptionEventMessage), nextPageToken };
    },
    eraseCustomer(call, { requestId, reason, validateOnly, userId }) {
      return eraseCustomer(contextOf(call), { requestId, reason, validateOnly, userId: userId.toLowerCase() });
    },
  };
}

function fromSearch(request: ListCustomersRequest): ListCustomersInput {
  const { pageSize, pageToken, query, card, planCode, includeNeverActive, order } = request;
  return {
    pageSize,
    pageToken,
    query: query.trim(),
    planCode,
    includeNeverActive,
    last4: card?.last4 ?? '',
    amount: card?.amount,
    paidOn: card?.paidOn ?? '',
    status: fromSubscriptionStatus(request.status),
    oldestFirst: order === CustomerOrder.OLDEST_FIRST,
  };
}

function toAccessMessage(access: ProductLineAccess): MessageInitShape<typeof ProductLineAccessSchema> {
  const { subscription, hasAccess, accessUntil, reason, method, nextAmount } = access;
  const { nextChargeAt } = subscription;
  return {
    productLine: subscription.productLine,
    hasAccess,
    reason: AccessReason[reason],
    subscription: toSubscriptionMessage(subscription),
    ...presentTimestamps({ accessUntil, nextChargeAt }),
    ...(nextChargeAt && { nextChargeAmount: nextAmount }),
    ...(method && { paymentMethod: toPaymentMethodMessage(method, true) }),
  };
}
