import { useState } from 'react';
import { Alert, Button, Group, Stack, Text, Title } from '@mantine/core';
import { useQuery } from '@connectrpc/connect-query';
import { PlanAdminService } from '@cinema-billing/gen/billing/admin/v1/plan_admin_service_pb.ts';
import { useLocation, useParams } from 'wouter';
import type { Price } from '@cinema-billing/gen/billing/v1/plan_pb.ts';
import { MovePriceDialog, targetsOf } from '../parts/move-price-dialog.tsx';
import { priceText, Tag } from '../parts/labels.tsx';
import { ArchiveDialog, DeletePlanDialog, EditPlanDialog, NewPriceDialog } from '../parts/plan-dialogs.tsx';
import { Loaded, PageHead } from '../parts/states.tsx';
import { useSettings } from '../settings.tsx';
import type { Word } from '../texts.ts';

type Dialog = 'edit' | 'price' | 'archive' | 'delete' | { readonly move: Price } | undefined;

export default function Plan() {
  const settings = useSettings();
  const { t, may, date } = settings;
  const { id = '' } = useParams();
  const [dialog, setDialog] = useState<Dialog>();
  const [, navigate] = useLocation();
  const query = useQuery(PlanAdminService.method.getPlan, { planId: id });
  const close = () => setDialog(undefined);
  const locked = { disabled: !may('admin'), title: may('admin') ? '' : t('notAllowed') };
  return (
    <Loaded query={query}>
      {({ plan: admin }) => {
        const plan = admin!.plan!;
        const uses = new Map(admin!.priceUses.map((use) => [use.priceId, Number(use.openSubscriptionCount)]));
        const isArchived = admin!.archivedAt !== undefined;
        return (
          <>
            <PageHead
              title={
                <>
                  {plan.name} <Tag tone={isArchived ? 'calm' : 'good'}>{t(isArchived ? 'archived' : 'onSale')}</Tag>
                </>
              }
              aside={
                <>
                  <Button variant="default" {...locked} onClick={() => setDialog('edit')}>
                    {t('edit')}
                  </Button>
                  <Button variant="default" {...locked} onClick={() => setDialog('archive')}>
                    {t(isArchived ? 'unarchive' : 'archive')}
                  </Button>
                  <Button variant="default" {...locked} onClick={() => setDialog('delete')}>
                    {t('remove')}
                  </Button>
                </>
              }
            />
            <Stack>
              {admin!.featuresPendingCount > 0n && (
                <Alert color="blue">{t('featuresPending', { n: Number(admin!.featuresPendingCount) })}</Alert>
              )}
              <section className="card">
                <Text className="wrap">{plan.description}</Text>
                <Group mt="sm" gap={6}>
                  {plan.features.map((feature) => (
                    <Tag key={feature} tone="calm">
                      {feature}
                    </Tag>
                  ))}
                </Group>
                <Text mt="md" size="sm" c="dimmed">
                  <span className="mono">{plan.code}</span> · {t('trialDays')}: {plan.trialDays} · {t('refundPolicy')}:{' '}
                  {t(`refund_${admin!.refundPolicy}` as Word)} · {date(admin!.createdAt, 'day')}
                </Text>
              </section>
              <section className="card">
                <Group justify="space-between" mb="xs">
                  <Title order={2} size="h4">
                    {t('prices')}
                  </Title>
                  <Button size="sm" {...locked} onClick={() => setDialog('price')}>
                    {t('newPrice')}
                  </Button>
                </Group>
                {plan.prices.map((price) => (
                  <Group key={price.id} justify="space-between" py="xs" className="line">
                    <Text fw={600}>{priceText(settings, price)}</Text>
                    <Group gap="sm">
                      <Text c="dimmed">{t('subscribersNow', { n: uses.get(price.id) ?? 0 })}</Text>
                      {targetsOf(price, plan.prices).length > 0 && (uses.get(price.id) ?? 0) > 0 && (
                        <Button
                          size="xs"
                          variant="default"
                          {...locked}
                          aria-label={`${t('movePrice')}: ${priceText(settings, price)}`}
                          onClick={() => setDialog({ move: price })}
                        >
                          {t('movePrice')}
                        </Button>
                      )}
                    </Group>
                  </Group>
                ))}
                <Text mt="sm" size="sm" c="dimmed">
                  {t('subscribersNow', { n: Number(admin!.openSubscriptionCount) })},{' '}
                  {t('subscribersEver', { n: Number(admin!.subscriptionCount) })}
                </Text>
              </section>
            </Stack>
            {typeof dialog === 'object' && <MovePriceDialog plan={admin!} from={dialog.move} onClose={close} />}
            {dialog === 'edit' && <EditPlanDialog plan={admin!} onClose={close} />}
            {dialog === 'price' && <NewPriceDialog plan={admin!} onClose={close} />}
            {dialog === 'archive' && <ArchiveDialog plan={admin!} onClose={close} />}
            {dialog === 'delete' && (
              <DeletePlanDialog
                plan={admin!}
                onClose={close}
                onArchive={() => setDialog('archive')}
                onDeleted={() => navigate('/plans')}
              />
            )}
          </>
        );
      }}
    </Loaded>
  );
}
