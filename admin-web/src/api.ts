import { Code, ConnectError, createClient, type Interceptor } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-web';
import { QueryClient } from '@tanstack/react-query';
import { CustomerAdminService } from '@cinema-billing/gen/billing/admin/v1/customer_admin_service_pb.ts';
import { OperationsService } from '@cinema-billing/gen/billing/admin/v1/operations_service_pb.ts';
import { PaymentAdminService } from '@cinema-billing/gen/billing/admin/v1/payment_admin_service_pb.ts';
import { PlanAdminService } from '@cinema-billing/gen/billing/admin/v1/plan_admin_service_pb.ts';
import { SubscriptionAdminService } from '@cinema-billing/gen/billing/admin/v1/subscription_admin_service_pb.ts';
import { ErrorInfoSchema, BadRequestSchema } from '@cinema-billing/gen/google/rpc/error_details_pb.ts';
import { currentToken } from './auth.ts';

const callTimeoutMs = 15_000;
/** Long enough that going back and forth shows what was there at once; every change asks anew. */
const freshMs = 5_000;

/** Announced on the window when the service no longer takes the token. */
export const sessionEnded = 'billing:session-ended';

const withToken: Interceptor = (next) => async (request) => {
  const token = currentToken();
  if (token !== undefined) request.header.set('authorization', `Bearer ${token}`);
  try {
    return await next(request);
  } catch (error) {
    if (ConnectError.from(error).code === Code.Unauthenticated) dispatchEvent(new Event(sessionEnded));
    throw error;
  }
};

export const transport = createConnectTransport({
  baseUrl: location.origin,
  interceptors: [withToken],
  defaultTimeoutMs: callTimeoutMs,
});

export const planClient = createClient(PlanAdminService, transport);
export const customerClient = createClient(CustomerAdminService, transport);
export const subscriptionClient = createClient(SubscriptionAdminService, transport);
export const paymentClient = createClient(PaymentAdminService, transport);
export const operationsClient = createClient(OperationsService, transport);

export const queries = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: freshMs,
      // What the service has decided does not change by asking again.
      retry: (count, error) => count < 2 && ConnectError.from(error).code === Code.Unavailable,
    },
  },
});

/** The stable word for what went wrong: PLAN_IN_USE. Empty when there is none. */
export function reasonOf(error: unknown): string {
  return ConnectError.from(error).findDetails(ErrorInfoSchema)[0]?.reason ?? '';
}

/** What the service says is wrong, one line per problem. */
export function problemsOf(error: unknown): string[] {
  const connectError = ConnectError.from(error);
  const fields = connectError.findDetails(BadRequestSchema).flatMap(({ fieldViolations }) => fieldViolations);
  if (fields.length > 0) return fields.map(({ field, description }) => `${field}: ${description}`);
  return [connectError.rawMessage];
}
