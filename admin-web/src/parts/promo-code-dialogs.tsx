import { useState } from 'react';
import { Group, NumberInput, SegmentedControl, Select, TextInput } from '@mantine/core';
import { useQuery } from '@connectrpc/connect-query';
import { PlanAdminService } from '@cinema-billing/gen/billing/admin/v1/plan_admin_service_pb.ts';
import type {
  CreatePromoCodeResponse,
  EndPromoCodeResponse,
  PromoCode,
} from '@cinema-billing/gen/billing/admin/v1/promo_code_pb.ts';
import { planClient } from '../api.ts';
import { parseAmount } from '../format.ts';
import { useSettings, type Settings } from '../settings.tsx';
import { ActionDialog } from './action-dialog.tsx';
import { currencies } from './plan-fields.tsx';

interface Draft {
  readonly code: string;
  readonly kind: 'percent' | 'amount';
  readonly percent: number;
  readonly amount: string;
  readonly currencyCode: string;
  readonly cycles: number;
  readonly redemptionsMax: number;
  readonly planId: string;
}

const codeForm = /^[A-Za-z0-9][A-Za-z0-9_-]{2,31}$/;
const emptyCode: Draft = {
  code: '',
  kind: 'percent',
  percent: 10,
  amount: '',
  currencyCode: 'RUB',
  cycles: 1,
  redemptionsMax: 0,
  planId: '',
};

/** `30 % off, 3 cycles`. */
export function termsText({ t, money }: Settings, { discount, cycles }: PromoCode): string {
  const off = discount.case === 'percentOff' ? `${discount.value} %` : money(discount.value);
  return t('termsOff', { off, n: cycles });
}

export function CreatePromoCodeDialog({ onClose }: { readonly onClose: () => void }) {
  const settings = useSettings();
  const { t } = settings;
  const [draft, change] = useState(emptyCode);
  const { code, kind, percent, amount, currencyCode, cycles, redemptionsMax, planId } = draft;
  const amountMinor = parseAmount(amount, currencyCode);
  const isComplete = codeForm.test(code) && cycles >= 1 && (kind === 'percent' ? percent >= 1 : !!amountMinor);
  return (
    <ActionDialog
      title={t('newPromoCode')}
      confirm={t('newPromoCode')}
      previewKey={isComplete ? JSON.stringify(draft) : undefined}
      call={(asked) =>
        planClient.createPromoCode({
          ...asked,
          code,
          cycles,
          redemptionsMax,
          planId,
          discount:
            kind === 'percent'
              ? { case: 'percentOff', value: percent }
              : { case: 'amountOff', value: { currencyCode, amountMinor: amountMinor! } },
        })
      }
      describe={({ promoCode }: CreatePromoCodeResponse) =>
        `${promoCode!.code}: ${termsText(settings, promoCode!)}. ${t('promoCodeLead')}`
      }
      onClose={onClose}
    >
      <TextInput
        label={t('promoCode')}
        description={t('promoCodeHint')}
        required
        maxLength={32}
        value={code}
        error={code !== '' && !codeForm.test(code) && t('promoCodeHint')}
        onChange={(event) => change({ ...draft, code: event.currentTarget.value })}
      />
      <SegmentedControl
        aria-label={t('discount')}
        data={[
          { value: 'percent', label: t('inPercent') },
          { value: 'amount', label: t('asAmount') },
        ]}
        value={kind}
        onChange={(value) => change({ ...draft, kind: value as Draft['kind'] })}
      />
      <DiscountFields draft={draft} change={change} isWrong={amount !== '' && !amountMinor} />
      <Group grow align="start">
        <NumberInput
          label={t('cycles')}
          min={1}
          max={120}
          allowDecimal={false}
          value={cycles}
          onChange={(value) => change({ ...draft, cycles: Number(value) })}
        />
        <NumberInput
          label={t('redemptionsMax')}
          min={0}
          max={1_000_000_000}
          allowDecimal={false}
          value={redemptionsMax}
          onChange={(value) => change({ ...draft, redemptionsMax: Number(value) })}
        />
      </Group>
      <PlanChoice planId={planId} choose={(chosen) => change({ ...draft, planId: chosen })} />
    </ActionDialog>
  );
}

interface DiscountProps {
  readonly draft: Draft;
  readonly change: (draft: Draft) => void;
  readonly isWrong: boolean;
}

function DiscountFields({ draft, change, isWrong }: DiscountProps) {
  const { t } = useSettings();
  if (draft.kind === 'percent') {
    return (
      <NumberInput
        label={t('percentOff')}
        min={1}
        max={99}
        allowDecimal={false}
        value={draft.percent}
        onChange={(value) => change({ ...draft, percent: Number(value) })}
      />
    );
  }
  return (
    <Group grow align="start">
      <TextInput
        label={t('amountOff')}
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
  );
}

function PlanChoice({ planId, choose }: { readonly planId: string; readonly choose: (planId: string) => void }) {
  const { t } = useSettings();
  const { data } = useQuery(PlanAdminService.method.listPlans, {});
  const plans = (data?.plans ?? []).map(({ plan }) => ({ value: plan!.id, label: plan!.name }));
  return (
    <Select
      label={t('forPlan')}
      allowDeselect={false}
      data={[{ value: '', label: t('allPlans') }, ...plans]}
      value={planId}
      onChange={(value) => choose(value!)}
    />
  );
}

interface EndProps {
  readonly promoCode: PromoCode;
  readonly onClose: () => void;
}

export function EndPromoCodeDialog({ promoCode: { id, code }, onClose }: EndProps) {
  const { t } = useSettings();
  return (
    <ActionDialog
      title={`${t('endPromoCode')}: ${code}`}
      confirm={t('endPromoCode')}
      danger
      previewKey={id}
      call={(asked) => planClient.endPromoCode({ ...asked, promoCodeId: id })}
      describe={({ promoCode }: EndPromoCodeResponse) => t('endPromoCodeLead', { n: promoCode!.redemptionCount })}
      onClose={onClose}
    />
  );
}
