import { useRef, useState } from 'react';
import { Select } from '@mantine/core';
import { useQuery } from '@connectrpc/connect-query';
import { PlanAdminService } from '@cinema-billing/gen/billing/admin/v1/plan_admin_service_pb.ts';
import type {
  AdminSubscription,
  ChangePlanResponse,
} from '@cinema-billing/gen/billing/admin/v1/subscription_admin_service_pb.ts';
import {
  PlanChangeOutcome,
  PlanChangeTiming,
  type PlanChange,
} from '@cinema-billing/gen/billing/v1/subscription_service_pb.ts';
import { subscriptionClient } from '../api.ts';
import { useSettings } from '../settings.tsx';
import { ActionDialog, type Change } from './action-dialog.tsx';
import { priceText } from './labels.tsx';

interface Props {
  readonly admin: AdminSubscription;
  readonly onClose: () => void;
}

/** Another price, now or at the end of the period: which of them, and what it costs, the service's preview says. */
export function PlanChangeDialog({ admin, onClose }: Props) {
  const settings = useSettings();
  const { t } = settings;
  const subscription = admin.subscription!;
  const [priceId, setPriceId] = useState<string | null>(null);
  // What was shown is what is charged: the change repeats the instant of its preview.
  const shown = useRef<PlanChange>(undefined);
  const { data } = useQuery(PlanAdminService.method.listPlans, {});
  const keepsOne = subscription.scheduledPriceId !== '';
  const prices = data?.plans
    .filter(({ plan }) => plan!.productLine === subscription.productLine)
    .flatMap(({ plan }) => plan!.prices.map((price) => ({ plan: plan!, price })))
    .filter(({ price }) => price.amount?.currencyCode === subscription.price?.amount?.currencyCode)
    .filter(({ price }) => keepsOne || price.id !== subscription.price?.id)
    .map(({ plan, price }) => ({ value: price.id, label: `${plan.name} · ${priceText(settings, price)}` }));
  const call = async (asked: Change) => {
    const prorationAt = asked.validateOnly ? undefined : shown.current?.prorationAt;
    const target = { subscriptionId: subscription.id, priceId: priceId! };
    const answer = await subscriptionClient.changePlan({ ...asked, ...target, ...(prorationAt && { prorationAt }) });
    if (asked.validateOnly) shown.current = answer.change;
    // The plan is the old one: a dialog that closed would say that it was done.
    if (answer.outcome === PlanChangeOutcome.PAYMENT_FAILED) {
      throw new Error(t('changeDeclined', { code: answer.declineCode || '—' }));
    }
    return answer;
  };
  return (
    <ActionDialog
      title={t('changePlan')}
      confirm={t('changePlan')}
      previewKey={priceId === null ? undefined : `${subscription.id} ${priceId}`}
      call={call}
      describe={({ change }: ChangePlanResponse) => <WhatFollows change={change!} />}
      onClose={onClose}
    >
      <Select label={t('price')} required searchable data={prices ?? []} value={priceId} onChange={setPriceId} />
    </ActionDialog>
  );
}

function WhatFollows({ change }: { readonly change: PlanChange }) {
  const { t, money, date } = useSettings();
  const end = date(change.currentPeriodEnd, 'day');
  const next = t('renewsOn', { date: end, amount: money(change.nextCharge) });
  if (change.timing === PlanChangeTiming.AT_PERIOD_END) {
    return (
      <>
        {t('changesOn', { date: date(change.effectiveAt, 'day') })} {next}
      </>
    );
  }
  const [due, credit] = [money(change.due), money(change.credit)];
  return (
    <>
      {change.due!.amountMinor > 0n ? t('changeCosts', { due, credit }) : t('changeFree')} {next}
    </>
  );
}
