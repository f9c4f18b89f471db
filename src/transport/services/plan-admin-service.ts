import type {
  PlanAdminService,
  UpdatePlanRequest,
} from '@cinema-billing/gen/billing/admin/v1/plan_admin_service_pb.ts';
import { addPrice } from '../../catalog/add-price.ts';
import { archivePlan, unarchivePlan } from '../../catalog/archive-plan.ts';
import type { PlanChangeInput } from '../../catalog/change-plan.ts';
import { createPlan } from '../../catalog/create-plan.ts';
import { deletePlan } from '../../catalog/delete-plan.ts';
import { getAnyPlan, listAllPlans } from '../../catalog/list-all-plans.ts';
import { updatePlan, type UpdatePlanInput } from '../../catalog/update-plan.ts';
import type { CallContext } from '../../identity/call-context.ts';
import { BillingError } from '../../lib/billing-error.ts';
import { createPromoCode, endPromoCode, listPromoCodes } from '../../promotions/manage-promo-codes.ts';
import { movePrice } from '../../subscriptions/move-price.ts';
import type { Call } from '../call.ts';
import { fromNewPrice, fromRefundPolicy, toAdminPlanMessage } from '../messages/admin-plan.ts';
import { toTimestamp } from '../messages/instant.ts';
import { fromNewPromoCode, toPromoCodeMessage } from '../messages/promo-code.ts';
import type { ServiceImpl } from '../router.ts';

const defaultProductLine = 'cinema';

/** What is sold. */
export function planAdminService(contextOf: (call: Call) => CallContext): ServiceImpl<typeof PlanAdminService> {
  return {
    async listPlans(call, { pageSize, pageToken, includeArchived, currencyCode }) {
      const input = { pageSize, pageToken, includeArchived, currencyCode };
      const { items, nextPageToken } = await listAllPlans(contextOf(call), input);
      return { plans: items.map(toAdminPlanMessage), nextPageToken };
    },
    async getPlan(call, { planId }) {
      return { plan: toAdminPlanMessage(await getAnyPlan(contextOf(call), { planId: planId.toLowerCase() })) };
    },
    async createPlan(call, request) {
      const { requestId, reason, validateOnly, code, name, description, features, trialDays } = request;
      const plan = await createPlan(contextOf(call), {
        requestId,
        reason,
        validateOnly,
        code,
        name,
        description,
        features,
        trialDays,
        productLine: request.productLine || defaultProductLine,
        refundPolicy: fromRefundPolicy(request.refundPolicy),
        prices: request.prices.map((price, index) => fromNewPrice(price, `prices[${index}]`)),
      });
      return { plan: toAdminPlanMessage(plan) };
    },
    async updatePlan(call, request) {
      const input = { ...changeOf(request), changes: maskedChanges(request) };
      const { plan, affectedSubscribers } = await updatePlan(contextOf(call), input);
      return { plan: toAdminPlanMessage(plan), affectedSubscriberCount: BigInt(affectedSubscribers) };
    },
    async addPrice(call, request) {
      const input = { ...changeOf(request), price: fromNewPrice(request.price!, 'price') };
      const { plan, priceId } = await addPrice(contextOf(call), input);
      return { plan: toAdminPlanMessage(plan), priceId };
    },
    async movePrice(call, request) {
      const [fromPriceId, toPriceId] = [request.fromPriceId.toLowerCase(), request.toPriceId.toLowerCase()];
      const moved = await movePrice(contextOf(call), { ...changeOf(request), fromPriceId, toPriceId });
      return {
        plan: toAdminPlanMessage(moved.plan),
        affectedSubscriberCount: BigInt(moved.affectedSubscribers),
        nextRenewalCount: BigInt(moved.atNextRenewal),
        appliesFrom: toTimestamp(moved.appliesFrom),
      };
    },
    async archivePlan(call, request) {
      return { plan: toAdminPlanMessage(await archivePlan(contextOf(call), changeOf(request))) };
    },
    async unarchivePlan(call, request) {
      return { plan: toAdminPlanMessage(await unarchivePlan(contextOf(call), changeOf(request))) };
    },
    async deletePlan(call, request) {
      await deletePlan(contextOf(call), changeOf(request));
      return {};
    },
    async listPromoCodes(call, { pageSize, pageToken }) {
      const { items, nextPageToken } = await listPromoCodes(contextOf(call), { pageSize, pageToken });
      return { promoCodes: items.map(toPromoCodeMessage), nextPageToken };
    },
    async createPromoCode(call, request) {
      return { promoCode: toPromoCodeMessage(await createPromoCode(contextOf(call), fromNewPromoCode(request))) };
    },
    async endPromoCode(call, { requestId, reason, validateOnly, promoCodeId: id }) {
      const input = { requestId, reason, validateOnly, promoCodeId: id.toLowerCase() };
      return { promoCode: toPromoCodeMessage(await endPromoCode(contextOf(call), input)) };
    },
  };
}

function changeOf({ requestId, reason, validateOnly, planId, etag }: PlanChangeInput): PlanChangeInput {
  return { requestId, reason, validateOnly, planId: planId.toLowerCase(), etag };
}

/** What the mask names, and nothing else. Throws UPDATE_MASK_INVALID for a path that is no field of it. */
function maskedChanges(request: UpdatePlanRequest): UpdatePlanInput['changes'] {
  const { name, description, features, trialDays } = request;
  const byPath: Record<string, UpdatePlanInput['changes']> = {
    name: { name },
    description: { description },
    features: { features },
    trial_days: { trialDays },
    refund_policy: { refundPolicy: fromRefundPolicy(request.refundPolicy) },
  };
  return Object.assign(
    {},
    ...request.updateMask!.paths.map((path) => {
      const change = Object.hasOwn(byPath, path) ? byPath[path] : undefined;
      if (change) return change;
      throw new BillingError('invalid', 'UPDATE_MASK_INVALID', 'update_mask names what cannot be changed', {
        fieldViolations: [{ field: 'update_mask', description: `one of: ${Object.keys(byPath).join(', ')}` }],
      });
    }),
  ) as UpdatePlanInput['changes'];
}
