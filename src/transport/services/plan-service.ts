import { create } from '@bufbuild/protobuf';
import {
  ListPlansResponseSchema,
  type ListPlansResponse,
  type PlanService,
} from '@cinema-billing/gen/billing/v1/plan_service_pb.ts';
import type { KeptPlans } from '../../catalog/kept-plans.ts';
import { getPlan, listPlans } from '../../catalog/plans-on-sale.ts';
import type { CallContext } from '../../identity/call-context.ts';
import type { Call } from '../call.ts';
import { keptAnswer } from '../kept-answer.ts';
import { toPlanMessage } from '../messages/plan.ts';
import type { ServiceImpl } from '../router.ts';

/** What is on sale. */
export function planService(
  contextOf: (call: Call) => CallContext,
  kept: KeptPlans<ListPlansResponse>,
): ServiceImpl<typeof PlanService> {
  return {
    listPlans(call, { currencyCode }) {
      return kept.get(currencyCode, async () => {
        const plans = await listPlans(contextOf(call), { currencyCode: currencyCode || undefined });
        return keptAnswer(create(ListPlansResponseSchema, { plans: plans.map(toPlanMessage) }));
      });
    },
    async getPlan(call, request) {
      return { plan: toPlanMessage(await getPlan(contextOf(call), { code: request.code })) };
    },
  };
}
