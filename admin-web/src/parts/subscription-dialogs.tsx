import { useState } from 'react';
import { NumberInput, Select } from '@mantine/core';
import { useQuery } from '@connectrpc/connect-query';
import { PlanAdminService } from '@cinema-billing/gen/billing/admin/v1/plan_admin_service_pb.ts';
import {
  RefundChoice,
  SubscriptionCommand,
  type AdminSubscription,
  type CancelSubscriptionResponse,
  type DetachPaymentMethodResponse,
} from '@cinema-billing/gen/billing/admin/v1/subscription_admin_service_pb.ts';
import { CancelEffective } from '@cinema-billing/gen/billing/v1/subscription_service_pb.ts';
import { subscriptionClient } from '../api.ts';
import { useSettings } from '../settings.tsx';
import type { Word } from '../texts.ts';
import { ActionDialog } from './action-dialog.tsx';
import { priceText } from './labels.tsx';
import { PlanChangeDialog } from './plan-change-dialog.tsx';

interface Props {
  readonly admin: AdminSubscription;
  readonly command: SubscriptionCommand;
  readonly onClose: () => void;
}

type WithSubscription = { subscription?: AdminSubscription };
const daysDefault = 7;

/** The dialog of a command of the state table; undefined for those that are the viewer's. */
export function CommandDialog({ admin, command, onClose }: Props) {
  const { t, money, date } = useSettings();
  const subscriptionId = admin.subscription!.id;
  switch (command) {
    case SubscriptionCommand.CANCEL_AT_PERIOD_END:
    case SubscriptionCommand.CANCEL_NOW:
      return (
        <CancelDialog
          subscriptionId={subscriptionId}
          isNow={command === SubscriptionCommand.CANCEL_NOW}
          onClose={onClose}
        />
      );
    case SubscriptionCommand.CHANGE_PLAN_NOW:
      return <PlanChangeDialog admin={admin} onClose={onClose} />;
    case SubscriptionCommand.EXTEND:
      return <ExtendDialog subscriptionId={subscriptionId} onClose={onClose} />;
    case SubscriptionCommand.RESUME:
      return (
        <ActionDialog
          title={t('resume')}
          confirm={t('resume')}
          previewKey={subscriptionId}
          call={(asked) => subscriptionClient.resumeSubscription({ ...asked, subscriptionId })}
          describe={({ subscription }: WithSubscription) =>
            t('renewsOn', {
              date: date(subscription!.subscription!.currentPeriodEnd, 'day'),
              amount: money(subscription!.subscription!.price?.amount),
            })
          }
          onClose={onClose}
        />
      );
    case SubscriptionCommand.RETRY_PAYMENT:
      return (
        <ActionDialog
          title={t('retryPayment')}
          confirm={t('retryPayment')}
          previewKey={subscriptionId}
          call={(asked) => subscriptionClient.retryPayment({ ...asked, subscriptionId })}
          describe={() => t('chargesNow', { amount: money(admin.subscription!.price?.amount) })}
          onClose={onClose}
        />
      );
    default:
      return null;
  }
}

interface CancelProps {
  readonly subscriptionId: string;
  readonly isNow: boolean;
  readonly onClose: () => void;
}

function CancelDialog({ subscriptionId, isNow, onClose }: CancelProps) {
  const { t, money, date } = useSettings();
  const [refund, setRefund] = useState<RefundChoice>(RefundChoice.UNSPECIFIED);
  const choices = [RefundChoice.UNSPECIFIED, RefundChoice.NONE, RefundChoice.PRORATED, RefundChoice.FULL];
  const word = isNow ? 'cancelNow' : 'cancelEnd';
  return (
    <ActionDialog
      title={t(word)}
      confirm={t(word)}
      danger
      previewKey={`${subscriptionId} ${refund}`}
      call={(asked) =>
        subscriptionClient.cancelSubscription({
          ...asked,
          subscriptionId,
          effective: isNow ? CancelEffective.NOW : CancelEffective.AT_PERIOD_END,
          refund,
        })
      }
      describe={(answer: CancelSubscriptionResponse) => {
        const end = answer.subscription!.subscription!.currentPeriodEnd;
        return (
          <>
            {isNow ? t('endsNow') : t('endsOn', { date: date(end, 'day') })}{' '}
            {answer.refund ? t('refundIs', { amount: money(answer.refund) }) : t('refundNone')}
          </>
        );
      }}
      onClose={onClose}
    >
      {isNow && (
        <Select
          label={t('goesBack')}
          allowDeselect={false}
          data={choices.map((choice) => ({ value: String(choice), label: t(`back_${choice}` as Word) }))}
          value={String(refund)}
          onChange={(value) => setRefund(Number(value) as RefundChoice)}
        />
      )}
    </ActionDialog>
  );
}

function ExtendDialog({ subscriptionId, onClose }: Omit<CancelProps, 'isNow'>) {
  const { t, date } = useSettings();
  const [days, setDays] = useState(daysDefault);
  return (
    <ActionDialog
      title={t('extend')}
      confirm={t('extend')}
      previewKey={days > 0 ? `${subscriptionId} ${days}` : undefined}
      call={(asked) => subscriptionClient.extendPeriod({ ...asked, subscriptionId, days })}
      describe={({ subscription }: WithSubscription) =>
        t('newEnd', { date: date(subscription!.subscription!.currentPeriodEnd, 'day') })
      }
      onClose={onClose}
    >
      <DaysInput days={days} change={setDays} />
    </ActionDialog>
  );
}

function DaysInput({ days, change }: { readonly days: number; readonly change: (days: number) => void }) {
  const { t } = useSettings();
  return (
    <NumberInput
      label={t('days')}
      min={1}
      max={366}
      allowDecimal={false}
      value={days}
      onChange={(value) => change(Number(value))}
    />
  );
}

export function GrantDialog({ userId, onClose }: { readonly userId: string; readonly onClose: () => void }) {
  const settings = useSettings();
  const { t, date } = settings;
  const [priceId, setPriceId] = useState<string | null>(null);
  const [days, setDays] = useState(daysDefault);
  const { data } = useQuery(PlanAdminService.method.listPlans, {});
  const prices = data?.plans.flatMap(({ plan }) =>
    plan!.prices.map((price) => ({ value: price.id, label: `${plan!.name} · ${priceText(settings, price)}` })),
  );
  return (
    <ActionDialog
      title={t('grant')}
      confirm={t('grant')}
      previewKey={priceId !== null && days > 0 ? `${priceId} ${days}` : undefined}
      call={(asked) => subscriptionClient.grantSubscription({ ...asked, userId, priceId: priceId!, days })}
      describe={({ subscription }: WithSubscription) =>
        t('newEnd', { date: date(subscription!.subscription!.currentPeriodEnd, 'day') })
      }
      onClose={onClose}
    >
      <Select label={t('price')} required searchable data={prices ?? []} value={priceId} onChange={setPriceId} />
      <DaysInput days={days} change={setDays} />
    </ActionDialog>
  );
}

export function RemoveMethodDialog({ methodId, onClose }: { readonly methodId: string; readonly onClose: () => void }) {
  const { t } = useSettings();
  return (
    <ActionDialog
      title={t('removeCard')}
      confirm={t('removeCard')}
      danger
      previewKey={methodId}
      call={(asked) => subscriptionClient.detachPaymentMethod({ ...asked, paymentMethodId: methodId })}
      describe={({ endingSubscriptionIds: { length } }: DetachPaymentMethodResponse) => (
        <>
          {t('removeCardLead')} {length > 0 && t('endingSubscriptions', { n: length })}
        </>
      )}
      onClose={onClose}
    />
  );
}
