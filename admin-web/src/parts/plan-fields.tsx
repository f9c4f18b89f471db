import { Group, NumberInput, Select, Textarea, TextInput } from '@mantine/core';
import { RefundPolicy } from '@cinema-billing/gen/billing/admin/v1/plan_admin_service_pb.ts';
import { IntervalUnit } from '@cinema-billing/gen/billing/v1/plan_pb.ts';
import { parseAmount } from '../format.ts';
import { useSettings } from '../settings.tsx';
import type { Word } from '../texts.ts';

export interface PriceDraft {
  readonly amount: string;
  readonly currencyCode: string;
  readonly intervalUnit: IntervalUnit;
  readonly intervalCount: number;
}

export interface PlanDraft {
  readonly name: string;
  readonly description: string;
  readonly features: string;
  readonly trialDays: number;
  readonly refundPolicy: RefundPolicy;
}

export const emptyPrice: PriceDraft = {
  amount: '',
  currencyCode: 'RUB',
  intervalUnit: IntervalUnit.MONTH,
  intervalCount: 1,
};

export const emptyPlan: PlanDraft = {
  name: '',
  description: '',
  features: '',
  trialDays: 0,
  refundPolicy: RefundPolicy.NONE,
};

/** What a price can be set in here; the service takes every currency that a payment system takes. */
export const currencies = ['RUB', 'KZT', 'BYN', 'AMD', 'USD', 'EUR', 'JPY', 'KWD'];

/** `catalog.base, video.uhd` as a list. */
export function featureList(text: string): string[] {
  return text.split(/[\s,]+/).filter((feature) => feature !== '');
}

/** What the contract takes; undefined while the amount is none. */
export function newPriceOf({ amount, currencyCode, intervalUnit, intervalCount }: PriceDraft) {
  const amountMinor = parseAmount(amount, currencyCode);
  if (amountMinor === undefined || amountMinor === 0n) return undefined;
  return { amount: { currencyCode, amountMinor }, intervalUnit, intervalCount };
}

interface Fields<Draft> {
  readonly draft: Draft;
  readonly change: (draft: Draft) => void;
}

export function PlanFields({ draft, change }: Fields<PlanDraft>) {
  const { t } = useSettings();
  const policies = [RefundPolicy.NONE, RefundPolicy.PRORATED];
  return (
    <>
      <TextInput
        label={t('planName')}
        required
        maxLength={100}
        value={draft.name}
        onChange={(event) => change({ ...draft, name: event.currentTarget.value })}
      />
      <Textarea
        label={t('planDescription')}
        maxLength={1000}
        autosize
        minRows={2}
        value={draft.description}
        onChange={(event) => change({ ...draft, description: event.currentTarget.value })}
      />
      <TextInput
        label={t('planFeatures')}
        description={t('planFeaturesHint')}
        value={draft.features}
        onChange={(event) => change({ ...draft, features: event.currentTarget.value })}
      />
      <Group grow align="start">
        <NumberInput
          label={t('trialDays')}
          min={0}
          max={365}
          allowDecimal={false}
          value={draft.trialDays}
          onChange={(value) => change({ ...draft, trialDays: Number(value) })}
        />
        <Select
          label={t('refundPolicy')}
          allowDeselect={false}
          data={policies.map((policy) => ({ value: String(policy), label: t(`refund_${policy}` as Word) }))}
          value={String(draft.refundPolicy)}
          onChange={(value) => change({ ...draft, refundPolicy: Number(value) as RefundPolicy })}
        />
      </Group>
    </>
  );
}

export function PriceFields({ draft, change }: Fields<PriceDraft>) {
  const { t } = useSettings();
  const isWrong = draft.amount !== '' && newPriceOf(draft) === undefined;
  const units = [IntervalUnit.DAY, IntervalUnit.MONTH, IntervalUnit.YEAR];
  return (
    <>
      <Group grow align="start">
        <TextInput
          label={t('amount')}
          required
          inputMode="decimal"
          maxLength={20}
          error={isWrong && t('amountInvalid')}
          value={draft.amount}
          onChange={(event) => change({ ...draft, amount: event.currentTarget.value })}
        />
        <Select
          label={t('currency')}
          allowDeselect={false}
          data={currencies}
          value={draft.currencyCode}
          onChange={(value) => change({ ...draft, currencyCode: value! })}
        />
      </Group>
      <Group grow align="start">
        <NumberInput
          label={t('intervalUnit')}
          min={1}
          max={366}
          allowDecimal={false}
          value={draft.intervalCount}
          onChange={(value) => change({ ...draft, intervalCount: Number(value) })}
        />
        <Select
          label={' '}
          aria-label={t('intervalUnit')}
          allowDeselect={false}
          data={units.map((unit) => ({
            value: String(unit),
            label: t(`unit_${unit}` as Word, { n: draft.intervalCount }),
          }))}
          value={String(draft.intervalUnit)}
          onChange={(value) => change({ ...draft, intervalUnit: Number(value) as IntervalUnit })}
        />
      </Group>
    </>
  );
}
