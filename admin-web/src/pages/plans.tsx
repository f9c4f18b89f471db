import { useState } from 'react';
import { Button, Group, SimpleGrid, Stack, Switch, Text, Title } from '@mantine/core';
import { useInfiniteQuery } from '@connectrpc/connect-query';
import { PlanAdminService, type AdminPlan } from '@cinema-billing/gen/billing/admin/v1/plan_admin_service_pb.ts';
import { Link, useLocation } from 'wouter';
import { priceText, Tag } from '../parts/labels.tsx';
import { byPageToken, MoreButton } from '../parts/pages-of.tsx';
import { CreatePlanDialog } from '../parts/plan-dialogs.tsx';
import { Empty, Loaded, PageHead } from '../parts/states.tsx';
import { useSettings } from '../settings.tsx';

export default function Plans() {
  const { t, may } = useSettings();
  const [includeArchived, setIncludeArchived] = useState(false);
  const [isCreating, setIsCreating] = useState(false);
  const [, navigate] = useLocation();
  const query = useInfiniteQuery(PlanAdminService.method.listPlans, { includeArchived, pageToken: '' }, byPageToken);
  return (
    <>
      <PageHead
        title={t('plans')}
        aside={
          <>
            <Switch
              label={t('showArchived')}
              checked={includeArchived}
              onChange={(event) => setIncludeArchived(event.currentTarget.checked)}
            />
            <Button
              disabled={!may('admin')}
              title={may('admin') ? '' : t('notAllowed')}
              onClick={() => setIsCreating(true)}
            >
              {t('newPlan')}
            </Button>
          </>
        }
      />
      <Loaded query={query}>
        {({ pages }) => {
          const plans = pages.flatMap((page) => page.plans);
          return (
            <>
              {plans.length === 0 && <Empty>{t('noPlans')}</Empty>}
              <SimpleGrid cols={{ base: 1, sm: 2, lg: 3 }}>
                {plans.map((plan) => (
                  <PlanCard key={plan.plan!.id} plan={plan} />
                ))}
              </SimpleGrid>
              <MoreButton query={query} />
            </>
          );
        }}
      </Loaded>
      {isCreating && (
        <CreatePlanDialog onClose={() => setIsCreating(false)} onCreated={(id) => navigate(`/plans/${id}`)} />
      )}
    </>
  );
}

function PlanCard({ plan: admin }: { readonly plan: AdminPlan }) {
  const settings = useSettings();
  const { t } = settings;
  const plan = admin.plan!;
  return (
    <Stack component="article" className="card" gap="sm">
      <Group justify="space-between" wrap="nowrap" align="start">
        <Title order={2} size="h4" className="wrap">
          <Link href={`/plans/${plan.id}`} className="row-link">
            {plan.name}
          </Link>
        </Title>
        <Tag tone={admin.archivedAt ? 'calm' : 'good'}>{t(admin.archivedAt ? 'archived' : 'onSale')}</Tag>
      </Group>
      <Text size="sm" c="dimmed" className="wrap" lineClamp={2} mih={44}>
        {plan.description}
      </Text>
      <Stack gap={2}>
        {plan.prices.slice(0, 3).map((price) => (
          <Text key={price.id} fw={600}>
            {priceText(settings, price)}
          </Text>
        ))}
      </Stack>
      <Group justify="space-between" mt="auto">
        <Text size="sm" c="dimmed" className="mono">
          {plan.code}
        </Text>
        <Text size="sm" c="dimmed">
          {t('subscribersNow', { n: Number(admin.openSubscriptionCount) })}
        </Text>
      </Group>
    </Stack>
  );
}
