import { useState } from 'react';
import { Alert, Button, Stack, Text, TextInput } from '@mantine/core';
import type {
  AdminPlan,
  AddPriceResponse,
  CreatePlanResponse,
  UpdatePlanResponse,
} from '@cinema-billing/gen/billing/admin/v1/plan_admin_service_pb.ts';
import { planClient, reasonOf } from '../api.ts';
import { decimalsOf, decimalText } from '../format.ts';
import { useSettings } from '../settings.tsx';
import { ActionDialog } from './action-dialog.tsx';
import { priceText } from './labels.tsx';
import { emptyPlan, emptyPrice, featureList, newPriceOf, PlanFields, PriceFields } from './plan-fields.tsx';

export interface PlanDialogProps {
  readonly plan: AdminPlan;
  readonly onClose: () => void;
}

const codeForm = /^[a-z][a-z0-9_-]{0,63}$/;

/** `onCreated` gets the new plan's id. */
export function CreatePlanDialog({ onClose, onCreated }: { onClose: () => void; onCreated: (id: string) => void }) {
  const settings = useSettings();
  const { t } = settings;
  const [code, setCode] = useState('');
  const [draft, change] = useState(emptyPlan);
  const [price, changePrice] = useState(emptyPrice);
  const newPrice = newPriceOf(price);
  const isComplete = codeForm.test(code) && draft.name.trim() !== '' && newPrice !== undefined;
  return (
    <ActionDialog
      title={t('newPlan')}
      confirm={t('newPlan')}
      previewKey={isComplete ? JSON.stringify([code, draft, price]) : undefined}
      call={async (asked) => {
        const { features, ...rest } = draft;
        const answer = await planClient.createPlan({
          ...asked,
          ...rest,
          code,
          features: featureList(features),
          prices: [newPrice!],
        });
        if (!asked.validateOnly) onCreated(answer.plan!.plan!.id);
        return answer;
      }}
      describe={({ plan }: CreatePlanResponse) => `${plan!.plan!.name}: ${priceText(settings, plan!.plan!.prices[0])}`}
      onClose={onClose}
    >
      <TextInput
        label={t('planCode')}
        description={t('planCodeHint')}
        required
        maxLength={64}
        value={code}
        error={code !== '' && !codeForm.test(code) && t('planCodeHint')}
        onChange={(event) => setCode(event.currentTarget.value)}
      />
      <PlanFields draft={draft} change={change} />
      <PriceFields draft={price} change={changePrice} />
    </ActionDialog>
  );
}

export function EditPlanDialog({ plan: admin, onClose }: PlanDialogProps) {
  const { t } = useSettings();
  const plan = admin.plan!;
  const before = {
    name: plan.name,
    description: plan.description,
    features: plan.features.join(', '),
    trialDays: plan.trialDays,
    refundPolicy: admin.refundPolicy || emptyPlan.refundPolicy,
  };
  const [draft, change] = useState(before);
  const paths = (
    [
      ['name', 'name'],
      ['description', 'description'],
      ['features', 'features'],
      ['trialDays', 'trial_days'],
      ['refundPolicy', 'refund_policy'],
    ] as const
  )
    .filter(([field]) => draft[field] !== before[field])
    .map(([, path]) => path);
  const { features, ...rest } = draft;
  return (
    <ActionDialog
      title={t('edit')}
      confirm={t('save')}
      previewKey={paths.length > 0 && draft.name.trim() !== '' ? JSON.stringify(draft) : undefined}
      call={(asked) =>
        planClient.updatePlan({
          ...asked,
          ...rest,
          planId: plan.id,
          etag: admin.etag,
          updateMask: { paths },
          features: featureList(features),
        })
      }
      describe={({ affectedSubscriberCount }: UpdatePlanResponse) =>
        t('editTouches', { n: Number(affectedSubscriberCount) })
      }
      onClose={onClose}
    >
      <PlanFields draft={draft} change={change} />
    </ActionDialog>
  );
}

export function NewPriceDialog({ plan: admin, onClose }: PlanDialogProps) {
  const { t } = useSettings();
  const first = admin.plan!.prices[0];
  const [draft, change] = useState(() => {
    if (first === undefined) return emptyPrice;
    const { currencyCode, amountMinor } = first.amount!;
    const { intervalUnit, intervalCount } = first;
    return { amount: decimalText(amountMinor, decimalsOf(currencyCode)), currencyCode, intervalUnit, intervalCount };
  });
  const price = newPriceOf(draft);
  const isSame =
    first?.amount?.amountMinor === price?.amount.amountMinor &&
    first?.amount?.currencyCode === draft.currencyCode &&
    first?.intervalUnit === draft.intervalUnit &&
    first?.intervalCount === draft.intervalCount;
  return (
    <ActionDialog
      title={t('newPrice')}
      confirm={t('newPrice')}
      previewKey={price && !isSame ? JSON.stringify(draft) : undefined}
      call={(asked) => planClient.addPrice({ ...asked, planId: admin.plan!.id, etag: admin.etag, price: price! })}
      describe={({ plan }: AddPriceResponse) => (
        <>
          {t('newPriceLead')} {t('newPriceTouches', { n: Number(plan!.openSubscriptionCount) })}
        </>
      )}
      onClose={onClose}
    >
      <PriceFields draft={draft} change={change} />
    </ActionDialog>
  );
}

export function ArchiveDialog({ plan: admin, onClose }: PlanDialogProps) {
  const { t } = useSettings();
  const isArchived = admin.archivedAt !== undefined;
  const target = { planId: admin.plan!.id, etag: admin.etag };
  return (
    <ActionDialog
      title={`${t(isArchived ? 'unarchive' : 'archive')}: ${admin.plan!.name}`}
      confirm={t(isArchived ? 'unarchive' : 'archive')}
      previewKey={admin.etag}
      call={(asked) =>
        isArchived ? planClient.unarchivePlan({ ...asked, ...target }) : planClient.archivePlan({ ...asked, ...target })
      }
      describe={() => t(isArchived ? 'unarchiveLead' : 'archiveLead')}
      onClose={onClose}
    />
  );
}

interface DeleteProps extends PlanDialogProps {
  readonly onArchive: () => void;
  readonly onDeleted: () => void;
}

/** A plan that was ever sold is refused: the same dialog says why, and offers to archive. */
export function DeletePlanDialog({ plan: admin, onClose, onArchive, onDeleted }: DeleteProps) {
  const { t } = useSettings();
  return (
    <ActionDialog
      title={`${t('remove')}: ${admin.plan!.name}`}
      confirm={t('remove')}
      danger
      previewKey={admin.etag}
      call={(asked) => planClient.deletePlan({ ...asked, planId: admin.plan!.id, etag: admin.etag })}
      describe={() => t('removeLead')}
      refused={(error) =>
        reasonOf(error) === 'PLAN_IN_USE' && (
          <Alert color="yellow" role="alert">
            <Stack gap="sm" align="start">
              <Text size="sm">{t('removeRefused', { n: Number(admin.subscriptionCount) })}</Text>
              {admin.archivedAt === undefined && (
                <Button size="xs" variant="default" onClick={onArchive}>
                  {t('archiveInstead')}
                </Button>
              )}
            </Stack>
          </Alert>
        )
      }
      onClose={onClose}
      onDone={onDeleted}
    />
  );
}
