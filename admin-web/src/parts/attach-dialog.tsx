import { useState } from 'react';
import { Checkbox, TextInput } from '@mantine/core';
import type {
  AttachOrphanResponse,
  WebhookEvent,
} from '@cinema-billing/gen/billing/admin/v1/payment_admin_service_pb.ts';
import { paymentClient } from '../api.ts';
import { useSettings } from '../settings.tsx';
import { ActionDialog } from './action-dialog.tsx';

const uuidForm = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** Says whose money it is that came without a payment of ours; it pays, or goes back. */
export function AttachDialog({ event, onClose }: { readonly event: WebhookEvent; readonly onClose: () => void }) {
  const { t, money, date } = useSettings();
  const [text, setText] = useState('');
  const [giveBack, setGiveBack] = useState(false);
  const { provider, providerEventId } = event;
  const paymentId = text.trim();
  const isPayment = uuidForm.test(paymentId);
  return (
    <ActionDialog
      title={t('attach')}
      confirm={t(giveBack ? 'giveBack' : 'attach')}
      danger={giveBack}
      previewKey={isPayment ? `${providerEventId} ${paymentId} ${giveBack}` : undefined}
      call={(asked) => paymentClient.attachOrphan({ ...asked, provider, providerEventId, paymentId, giveBack })}
      describe={({ amount, pays, paidUntil }: AttachOrphanResponse) =>
        pays
          ? t('attachPays', { amount: money(amount), until: date(paidUntil) })
          : t('attachGoesBack', { amount: money(amount) })
      }
      onClose={onClose}
    >
      <TextInput
        label={t('attachTo')}
        description={t('attachToHint')}
        maxLength={36}
        value={text}
        error={text !== '' && !isPayment && t('attachToInvalid')}
        onChange={(change) => setText(change.currentTarget.value)}
      />
      <Checkbox
        label={t('giveBackInstead')}
        checked={giveBack}
        onChange={(change) => setGiveBack(change.currentTarget.checked)}
      />
    </ActionDialog>
  );
}
