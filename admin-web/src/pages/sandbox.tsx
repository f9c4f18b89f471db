import { useState } from 'react';
import { Button, Group, SimpleGrid, Stack, Text, TextInput, Title } from '@mantine/core';
import { createClient } from '@connectrpc/connect';
import { useMutation, useQuery } from '@tanstack/react-query';
import { PlanService } from '@cinema-billing/gen/billing/v1/plan_service_pb.ts';
import { CancelEffective } from '@cinema-billing/gen/billing/v1/subscription_service_pb.ts';
import type { Price } from '@cinema-billing/gen/billing/v1/plan_pb.ts';
import { Link } from 'wouter';
import { transport } from '../api.ts';
import { ClockCard } from '../parts/clock-card.tsx';
import { DeliveriesCard } from '../parts/deliveries-card.tsx';
import { intervalText, priceText, StatusTag, Tag } from '../parts/labels.tsx';
import { ScriptCard } from '../parts/script-card.tsx';
import { Empty, Loaded, PageHead, Problem } from '../parts/states.tsx';
import { useSettings } from '../settings.tsx';
import { authRights, currentViewer, newViewer, viewerClient } from '../viewer.ts';

const lookEveryMs = 2_000;
const plans = createClient(PlanService, transport);

export default function Sandbox() {
  const { t, config } = useSettings();
  const [viewer, setViewer] = useState(currentViewer);
  const authUrl = config.sandboxAuthUrl;
  if (authUrl === null) return <Empty>{t('notFound')}</Empty>;
  return (
    <>
      <PageHead
        title={t('sandbox')}
        aside={
          <Button variant="default" onClick={() => setViewer(newViewer())}>
            {t('newViewer')}
          </Button>
        }
      />
      <Stack>
        <Text c="dimmed" maw={720}>
          {t('sandboxLead')}
        </Text>
        <Text size="sm">
          {t('youAre')}:{' '}
          <Link href={`/users/${viewer}`} className="row-link mono" title={t('openInUsers')} data-testid="viewer">
            {viewer}
          </Link>
        </Text>
        <Shop key={viewer} authUrl={authUrl} viewer={viewer} />
        <SimpleGrid cols={{ base: 1, md: 3 }}>
          <ClockCard />
          <YourSubscription authUrl={authUrl} viewer={viewer} />
          <AuthCard authUrl={authUrl} viewer={viewer} />
        </SimpleGrid>
        <ScriptCard key={`script ${viewer}`} viewer={viewer} />
        <DeliveriesCard viewer={viewer} />
      </Stack>
    </>
  );
}

interface ViewerProps {
  readonly authUrl: string;
  readonly viewer: string;
}

function Shop({ authUrl, viewer }: ViewerProps) {
  const settings = useSettings();
  const { t } = settings;
  const [promoCode, setPromoCode] = useState('');
  const query = useQuery({ queryKey: ['shop'], queryFn: () => plans.listPlans({}) });
  const subscribe = useMutation({
    mutationFn: async (price: Price) => {
      const { checkout } = await viewerClient(authUrl, viewer).subscribe({
        requestId: crypto.randomUUID(),
        priceId: price.id,
        promoCode: promoCode.trim(),
        returnUrl: `${location.origin}/admin/sandbox`,
      });
      if (checkout) location.assign(checkout.url);
    },
  });
  return (
    <section aria-label={t('shop')}>
      <Loaded query={query}>
        {({ plans }) => (
          <SimpleGrid cols={{ base: 1, sm: 2, md: 3 }}>
            {plans.map((plan) => (
              <Stack key={plan.id} component="article" className="card" gap="sm">
                <Title order={2} size="h4" className="wrap">
                  {plan.name}
                </Title>
                <Text size="sm" c="dimmed" className="wrap">
                  {plan.description}
                </Text>
                <div>
                  <span className="price">{settings.money(plan.prices[0]?.amount)}</span>{' '}
                  <span className="dim">{plan.prices[0] && intervalText(settings, plan.prices[0])}</span>
                </div>
                {plan.trialDays > 0 && <Tag tone="info">{t('trial', { n: plan.trialDays })}</Tag>}
                <Stack gap={6} mt="auto">
                  {plan.prices.map((price, at) => (
                    <Button
                      key={price.id}
                      variant={at === 0 ? 'filled' : 'default'}
                      loading={subscribe.isPending && subscribe.variables.id === price.id}
                      onClick={() => subscribe.mutate(price)}
                      aria-label={`${t('subscribe')}: ${plan.name}, ${priceText(settings, price)}`}
                    >
                      {at === 0 ? t('subscribe') : priceText(settings, price)}
                    </Button>
                  ))}
                </Stack>
              </Stack>
            ))}
          </SimpleGrid>
        )}
      </Loaded>
      <Group mt="sm" gap="md" align="center">
        <TextInput
          aria-label={t('promoCode')}
          placeholder={t('promoCode')}
          maxLength={32}
          w={180}
          value={promoCode}
          onChange={(event) => setPromoCode(event.currentTarget.value)}
        />
        <Text size="sm" c="dimmed" flex="1 1 300px">
          {t('payHint')}
        </Text>
      </Group>
      {subscribe.error && <Problem error={subscribe.error} />}
    </section>
  );
}

function YourSubscription({ authUrl, viewer }: ViewerProps) {
  const settings = useSettings();
  const { t, date } = settings;
  const query = useQuery({
    queryKey: ['viewer subscriptions', viewer],
    queryFn: () => viewerClient(authUrl, viewer).listSubscriptions({}),
    refetchInterval: lookEveryMs,
  });
  const cancel = useMutation({
    mutationFn: ({ subscriptionId, effective }: { subscriptionId: string; effective: CancelEffective }) =>
      viewerClient(authUrl, viewer).cancelSubscription({ requestId: crypto.randomUUID(), subscriptionId, effective }),
    onSuccess: () => query.refetch(),
  });
  return (
    <section className="card" data-testid="your-subscription">
      <Title order={2} size="h4" mb="sm">
        {t('yourSubscription')}
      </Title>
      <Loaded query={query}>
        {({ subscriptions: [subscription] }) => {
          if (subscription === undefined) return <Text c="dimmed">{t('noSubscription')}</Text>;
          const end = (effective: CancelEffective) => cancel.mutate({ subscriptionId: subscription.id, effective });
          return (
            <Stack gap="xs" align="start">
              <Group gap="xs">
                <Text fw={600}>{subscription.planCode}</Text>
                <StatusTag subscription={subscription} />
              </Group>
              <Text size="sm">{priceText(settings, subscription.price)}</Text>
              {subscription.currentPeriodEnd && (
                <Text size="sm" c="dimmed">
                  {date(subscription.currentPeriodStart, 'day')} – {date(subscription.currentPeriodEnd, 'day')}
                </Text>
              )}
              {subscription.endedAt === undefined && (
                <Group gap={6}>
                  <Button
                    size="xs"
                    variant="default"
                    disabled={subscription.cancelAtPeriodEnd}
                    onClick={() => end(CancelEffective.AT_PERIOD_END)}
                  >
                    {t('cancelEnd')}
                  </Button>
                  <Button size="xs" variant="default" onClick={() => end(CancelEffective.NOW)}>
                    {t('cancelNow')}
                  </Button>
                </Group>
              )}
            </Stack>
          );
        }}
      </Loaded>
      {cancel.error && <Problem error={cancel.error} />}
    </section>
  );
}

function AuthCard({ authUrl, viewer }: ViewerProps) {
  const { t, date } = useSettings();
  const query = useQuery({
    queryKey: ['auth', viewer],
    queryFn: () => authRights(authUrl, viewer),
    refetchInterval: lookEveryMs,
  });
  return (
    <section className="card" data-testid="auth">
      <Title order={2} size="h4" mb="sm">
        {t('authSays')}
      </Title>
      <Loaded query={query}>
        {({ version, grants, tokens_revoked_before: revoked }) => {
          if (version === 0) return <Text c="dimmed">{t('authNothing')}</Text>;
          return (
            <Stack gap="xs">
              {grants.length === 0 && (
                <div>
                  <Tag tone="bad">{t('authNone')}</Tag>
                </div>
              )}
              {grants.map((grant) => (
                <Group key={grant.plan_code} gap="xs">
                  <Tag tone="good">{grant.plan_code}</Tag>
                  <Text size="sm">{t('until', { date: date(new Date(grant.access_until)) })}</Text>
                </Group>
              ))}
              <Text size="sm" c="dimmed">
                {t('rightsVersion', { n: version })}
                {revoked !== null && ` · ${t('tokensRevoked')}`}
              </Text>
            </Stack>
          );
        }}
      </Loaded>
    </section>
  );
}
