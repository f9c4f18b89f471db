import { Alert, Text } from '@mantine/core';
import type { EraseCustomerResponse } from '@cinema-billing/gen/billing/admin/v1/customer_admin_service_pb.ts';
import { customerClient, reasonOf } from '../api.ts';
import { useSettings } from '../settings.tsx';
import { ActionDialog } from './action-dialog.tsx';

/** Forgets who a viewer is. What happened stays, and so does the page. */
export function EraseDialog({ userId, onClose }: { readonly userId: string; readonly onClose: () => void }) {
  const { t } = useSettings();
  return (
    <ActionDialog
      title={t('erase')}
      confirm={t('erase')}
      danger
      previewKey={userId}
      call={(asked) => customerClient.eraseCustomer({ ...asked, userId })}
      describe={({ contacts, paymentMethods, receipts }: EraseCustomerResponse) => (
        <>
          {t('eraseGoes', { contacts, cards: paymentMethods, receipts })} {t('eraseStays')}
        </>
      )}
      refused={(error) =>
        reasonOf(error) === 'CUSTOMER_IN_USE' && (
          <Alert color="yellow" role="alert">
            <Text size="sm">{t('eraseInUse')}</Text>
          </Alert>
        )
      }
      onClose={onClose}
    />
  );
}
