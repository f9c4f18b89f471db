import type { MessageInitShape } from '@bufbuild/protobuf';
import type { CreatePromoCodeRequest, PromoCodeSchema } from '@cinema-billing/gen/billing/admin/v1/promo_code_pb.ts';
import { BillingError } from '../../lib/billing-error.ts';
import type { CreatePromoCodeInput } from '../../promotions/manage-promo-codes.ts';
import type { DiscountTerms, PromoCode } from '../../promotions/promo-code.ts';
import { fromTimestamp, presentTimestamps, toTimestamp } from './instant.ts';

/** A promo code as operators see it. */
export function toPromoCodeMessage(promoCode: PromoCode): MessageInitShape<typeof PromoCodeSchema> {
  const { id, code, terms, cycles, plan, redemptionsMax, redemptions, endsAt, createdAt } = promoCode;
  return {
    id,
    code,
    discount: terms.amountOff
      ? { case: 'amountOff', value: terms.amountOff }
      : { case: 'percentOff', value: terms.percentOff },
    cycles,
    planId: plan?.id ?? '',
    planCode: plan?.code ?? '',
    redemptionsMax: redemptionsMax ?? 0,
    redemptionCount: redemptions,
    createdAt: toTimestamp(createdAt),
    ...presentTimestamps({ endsAt }),
  };
}

/** A code that does not exist yet. Throws INVALID_FIELDS where it takes nothing off. */
export function fromNewPromoCode(request: CreatePromoCodeRequest): CreatePromoCodeInput {
  const { requestId, reason, validateOnly, code, cycles, planId, redemptionsMax, endsAt } = request;
  return {
    requestId,
    reason,
    validateOnly,
    code: code.toUpperCase(),
    terms: termsOf(request),
    cycles,
    planId: planId === '' ? undefined : planId.toLowerCase(),
    redemptionsMax: redemptionsMax === 0 ? undefined : redemptionsMax,
    endsAt: endsAt && fromTimestamp(endsAt, 'ends_at'),
  };
}

function termsOf({ discount }: CreatePromoCodeRequest): DiscountTerms {
  if (discount.case === 'percentOff') return { percentOff: discount.value };
  if (discount.case === 'amountOff' && discount.value.amountMinor > 0n) {
    const { currencyCode, amountMinor } = discount.value;
    return { amountOff: { currencyCode, amountMinor } };
  }
  throw new BillingError('invalid', 'INVALID_FIELDS', 'fields of the request are not valid', {
    fieldViolations: [{ field: 'discount', description: 'percent_off, or amount_off that is more than nothing' }],
  });
}
