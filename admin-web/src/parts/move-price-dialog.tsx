import { useState } from 'react';
import { Select } from '@mantine/core';
import type { MovePriceResponse } from '@cinema-billing/gen/billing/admin/v1/plan_admin_service_pb.ts';
import type { Price } from '@cinema-billing/gen/billing/v1/plan_pb.ts';
import { planClient } from '../api.ts';
import { useSettings } from '../settings.tsx';
import { ActionDialog } from './action-dialog.tsx';
import { priceText } from './labels.tsx';
import type { PlanDialogProps } from './plan-dialogs.tsx';

/** Where a price's subscribers can be moved: other prices of the plan with the same currency and interval. */
export function targetsOf(from: Price, prices: readonly Price[]): Price[] {
  return prices.filter(
    (price) =>
      price.id !== from.id &&
      price.amount!.currencyCode === from.amount!.currencyCode &&
      price.intervalUnit === from.intervalUnit &&
      price.intervalCount === from.intervalCount,
  );
}

export function MovePriceDialog({ plan: admin, from, onClose }: PlanDialogProps & { readonly from: Price }) {
  const settings = useSettings();
  const { t, date } = settings;
  const targets = targetsOf(from, admin.plan!.prices);
  const [toPriceId, setToPriceId] = useState(targets[0]!.id);
  return (
    <ActionDialog
      title={`${t('movePrice')}: ${priceText(settings, from)}`}
      confirm={t('movePrice')}
      previewKey={toPriceId}
      call={(asked) =>
        planClient.movePrice({ ...asked, planId: admin.plan!.id, etag: admin.etag, fromPriceId: from.id, toPriceId })
      }
      describe={({ affectedSubscriberCount, nextRenewalCount, appliesFrom }: MovePriceResponse) =>
        t('moveTouches', {
          n: Number(affectedSubscriberCount),
          next: Number(nextRenewalCount),
          date: date(appliesFrom, 'day'),
        })
      }
      onClose={onClose}
    >
      <Select
        label={t('moveTo')}
        allowDeselect={false}
        data={targets.map((price) => ({ value: price.id, label: priceText(settings, price) }))}
        value={toPriceId}
        onChange={(value) => setToPriceId(value!)}
      />
    </ActionDialog>
  );
}
