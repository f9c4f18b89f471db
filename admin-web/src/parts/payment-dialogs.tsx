import { useState } from 'react';
import { TextInput } from '@mantine/core';
import type {
  AdminPayment,
  RefundPaymentResponse,
  WebhookEvent,
} from '@cinema-billing/gen/billing/admin/v1/payment_admin_service_pb.ts';
import { paymentClient } from '../api.ts';
import { parseAmount } from '../format.ts';
import { useSettings } from '../settings.tsx';
import { ActionDialog } from './action-dialog.tsx';

interface Props {
  readonly payment: AdminPayment;
  readonly onClose: () => void;
}

export function RefundDialog({ payment: { payment }, onClose }: Props) {
  const { t, money } = useSettings();
  const [text, setText] = useState('');
  const { currencyCode } = payment!.amount!;
  const amountMinor = parseAmount(text, currencyCode);
  const isWrong = text !== '' && !amountMinor;
  return (
    <ActionDialog
      title={t('refund')}
      confirm={t('refund')}
      danger
      previewKey={isWrong ? undefined : `${payment!.id} ${text}`}
      call={(asked) =>
        paymentClient.refundPayment({
          ...asked,
          paymentId: payment!.id,
          ...(amountMinor !== undefined && { amount: { currencyCode, amountMinor } }),
        })
      }
      describe={({ amount, left }: RefundPaymentResponse) => (
        <>
          {t('refundIs', { amount: money(amount) })} {t('leftAfter', { amount: money(left) })}
        </>
      )}
      onClose={onClose}
    >
      <TextInput
        label={`${t('amount')}, ${currencyCode}`}
        description={t('refundHint')}
        inputMode="decimal"
        maxLength={20}
        value={text}
        error={isWrong && t('amountInvalid')}
        onChange={(event) => setText(event.currentTarget.value)}
      />
    </ActionDialog>
  );
}

export function ResolveDialog({ payment: { payment }, onClose }: Props) {
  const { t } = useSettings();
  return (
    <ActionDialog
      title={t('resolve')}
      confirm={t('resolve')}
      previewKey={payment!.id}
      call={(asked) => paymentClient.resolveUnknownPayment({ ...asked, paymentId: payment!.id })}
      describe={() => t('resolveLead')}
      onClose={onClose}
    />
  );
}

export function ReplayDialog({ event, onClose }: { readonly event: WebhookEvent; readonly onClose: () => void }) {
  const { t } = useSettings();
  const { provider, providerEventId } = event;
  return (
    <ActionDialog
      title={t('replay')}
      confirm={t('replay')}
      previewKey={providerEventId}
      call={(asked) => paymentClient.replayWebhookEvent({ ...asked, provider, providerEventId })}
      describe={() => t('replayLead')}
      onClose={onClose}
    />
  );
}
