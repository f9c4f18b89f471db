import { randomUUID } from 'node:crypto';
import type { DescMethod, DescService } from '@bufbuild/protobuf';
import test from 'ava';
import { CustomerAdminService } from '@cinema-billing/gen/billing/admin/v1/customer_admin_service_pb.ts';
import { OperationsService } from '@cinema-billing/gen/billing/admin/v1/operations_service_pb.ts';
import { PaymentAdminService } from '@cinema-billing/gen/billing/admin/v1/payment_admin_service_pb.ts';
import { PlanAdminService } from '@cinema-billing/gen/billing/admin/v1/plan_admin_service_pb.ts';
import { SubscriptionAdminService } from '@cinema-billing/gen/billing/admin/v1/subscription_admin_service_pb.ts';
import { grpcClient, RpcError, type CallOptions } from '../cli/grpc-client.ts';
import { startWorld, type World } from '../testing/world.ts';

let world: World;
test.before(async () => {
  world = await startWorld();
});
test.after.always(() => world?.stop());

const services: DescService[] = [
  PlanAdminService,
  CustomerAdminService,
  SubscriptionAdminService,
  PaymentAdminService,
  OperationsService,
];

/** Written by hand: y may call, n may not. */
const table = `
                     viewer  service  read_only  support  admin
ListPlans            n       n        y          y        y
GetPlan              n       n        y          y        y
CreatePlan           n       n        n          n        y
UpdatePlan           n       n        n          n        y
AddPrice             n       n        n          n        y
MovePrice            n       n        n          n        y
ArchivePlan          n       n        n          n        y
UnarchivePlan        n       n        n          n        y
DeletePlan           n       n        n          n        y
ListCustomers        n       n        y          y        y
GetCustomer          n       n        y          y        y
ListCustomerHistory  n       n        y          y        y
ListSubscriptions    n       n        y          y        y
GetSubscription      n       n        y          y        y
GrantSubscription    n       n        n          y        y
CancelSubscription   n       n        n          y        y
ResumeSubscription   n       n        n          y        y
ExtendPeriod         n       n        n          y        y
RetryPayment         n       n        n          y        y
ChangePlan           n       n        n          y        y
DetachPaymentMethod  n       n        n          y        y
ListPayments         n       n        y          y        y
GetPayment           n       n        y          y        y
ExplainPayment       n       n        y          y        y
RefundPayment        n       n        n          y        y
ResolveUnknownPayment n      n        n          y        y
ListDisputes         n       n        y          y        y
ListWebhookEvents    n       n        y          y        y
ReplayWebhookEvent   n       n        n          y        y
GetMetrics           n       n        y          y        y
ListAuditEntries     n       n        y          y        y
`;

function readTable(): Map<string, Record<string, string>> {
  const [head, ...rows] = table.trim().split('\n');
  const names = head!.trim().split(/\s+/);
  return new Map(
    rows.map((row) => {
      const [method, ...cells] = row.split(/\s+/);
      return [method!, Object.fromEntries(names.map((name, index) => [name, cells[index]!]))];
    }),
  );
}

/** Whether the door let the call in: what is inside may still refuse the empty request. */
async function answerOf(service: DescService, method: DescMethod, options: CallOptions): Promise<string> {
  const client = grpcClient(service, world.service.grpcAddress) as unknown as Record<
    string,
    (request: object, options: CallOptions) => Promise<unknown>
  >;
  try {
    await client[method.localName]!({}, options);
    return 'y';
  } catch (error) {
    if (!(error instanceof RpcError)) throw error;
    if (error.reason === 'PERMISSION_DENIED') return 'n';
    return error.reason === 'INVALID_FIELDS' ? 'y' : `${error.code} ${error.reason}`;
  } finally {
    (client['close'] as unknown as () => void)();
  }
}

test('each operators’ RPC lets in exactly the roles of the table, and nobody without a token', async (t) => {
  const expected = readTable();
  const methods = services.flatMap((service) => service.methods.map((method) => [service, method] as const));
  t.deepEqual(methods.map(([, method]) => method.name).sort(), [...expected.keys()].sort());
  const tokens: Record<string, string> = {
    viewer: await world.auth.token({ sub: randomUUID() }),
    service: await world.auth.token({ sub: 'gateway', scope: 'billing.read billing.write billing.entitlements' }),
    read_only: await world.auth.token({ sub: 'rita', role: 'read_only' }),
    support: await world.auth.token({ sub: 'sasha', role: 'support' }),
    admin: await world.auth.token({ sub: 'olga', role: 'admin' }),
  };
  for (const [service, method] of methods) {
    const found: Record<string, string> = {};
    for (const [who, token] of Object.entries(tokens)) found[who] = await answerOf(service, method, { token });
    t.deepEqual(found, expected.get(method.name), method.name);
    t.is(await answerOf(service, method, {}), 'UNAUTHENTICATED TOKEN_MISSING', method.name);
  }
});
