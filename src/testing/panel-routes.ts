import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PaymentAdminService } from '@cinema-billing/gen/billing/admin/v1/payment_admin_service_pb.ts';
import { PlanAdminService } from '@cinema-billing/gen/billing/admin/v1/plan_admin_service_pb.ts';
import { grpcClient } from '../cli/grpc-client.ts';

const routesFile = join(import.meta.dirname, '../../admin-web/src/routes.ts');

/**
 * Every route of the panel, from its own list, with an address under /admin that it opens: the plan that was made last,
 * the newest payment, and this viewer.
 */
export async function panelRoutes(
  grpcAddress: string,
  { token, userId }: { token: string; userId: string },
): Promise<{ route: string; path: string }[]> {
  const plans = grpcClient(PlanAdminService, grpcAddress);
  const payments = grpcClient(PaymentAdminService, grpcAddress);
  const ids: Record<string, string> = {
    '/plans/:id': (await plans.listPlans({}, { token })).plans[0]!.plan!.id,
    '/users/:id': userId,
    '/payments/:id': (await payments.listPayments({}, { token })).payments[0]!.payment!.id,
  };
  plans.close();
  payments.close();
  const routes = [...readFileSync(routesFile, 'utf8').matchAll(/path: '(\/[^']*)'/g)].map(([, path]) => path!);
  if (routes.length < 9) throw new Error(`only ${routes.length} routes in ${routesFile}`);
  return routes.map((route) => ({
    route,
    path: route.replace(/:id$/, () => {
      const id = ids[route];
      if (id === undefined) throw new Error(`nobody says what opens ${route}`);
      return id;
    }),
  }));
}
