import { useState } from 'react';
import { Button, Group, SimpleGrid, Stack, Text, Title } from '@mantine/core';
import { useInfiniteQuery, useQuery } from '@connectrpc/connect-query';
import { CustomerAdminService, type Customer } from '@cinema-billing/gen/billing/admin/v1/customer_admin_service_pb.ts';
import { OperationsService } from '@cinema-billing/gen/billing/admin/v1/operations_service_pb.ts';
import { PaymentAdminService } from '@cinema-billing/gen/billing/admin/v1/payment_admin_service_pb.ts';
import {
  SubscriptionAdminService,
  SubscriptionCommand,
  type AdminSubscription,
} from '@cinema-billing/gen/billing/admin/v1/subscription_admin_service_pb.ts';
import { useParams } from 'wouter';
import { AccessAnswer } from '../parts/access-answer.tsx';
import { AuditRows } from '../parts/audit-rows.tsx';
import { EraseDialog } from '../parts/erase-dialog.tsx';
import { History } from '../parts/history.tsx';
import { priceText, StatusTag, Tag } from '../parts/labels.tsx';
import { byPageToken, MoreButton } from '../parts/pages-of.tsx';
import { PaymentRows } from '../parts/payment-rows.tsx';
import { Empty, Loaded, PageHead } from '../parts/states.tsx';
import { CommandDialog, GrantDialog, RemoveMethodDialog } from '../parts/subscription-dialogs.tsx';
import { useSettings } from '../settings.tsx';
import type { Word } from '../texts.ts';

const commands: [SubscriptionCommand, Word][] = [
  [SubscriptionCommand.CANCEL_AT_PERIOD_END, 'cancelEnd'],
  [SubscriptionCommand.CANCEL_NOW, 'cancelNow'],
  [SubscriptionCommand.RESUME, 'resume'],
  // The service decides which changes apply now and which at the end of the period.
  [SubscriptionCommand.CHANGE_PLAN_NOW, 'changePlan'],
  [SubscriptionCommand.EXTEND, 'extend'],
  [SubscriptionCommand.RETRY_PAYMENT, 'retryPayment'],
];

export default function User() {
  const { t, may, date } = useSettings();
  const { id = '' } = useParams();
  const [isGranting, setIsGranting] = useState(false);
  const [isErasing, setIsErasing] = useState(false);
  const customer = useQuery(CustomerAdminService.method.getCustomer, { userId: id });
  return (
    <>
      <PageHead
        title={<span className="mono">{id}</span>}
        aside={
          <Group gap="xs">
            <Button variant="default" disabled={!may('support')} onClick={() => setIsGranting(true)}>
              {t('grant')}
            </Button>
            <Button
              variant="default"
              disabled={!may('admin')}
              title={may('admin') ? '' : t('notAllowed')}
              onClick={() => setIsErasing(true)}
            >
              {t('erase')}
            </Button>
          </Group>
        }
      />
      <Loaded query={customer}>
        {({ customer }) => (
          <Stack>
            {customer!.access.map((access) => (
              <AccessAnswer key={access.productLine} access={access} />
            ))}
            <Text size="sm" c="dimmed">
              {t('since')} {date(customer!.createdAt, 'day')} ·{' '}
              {t('authKnows', {
                published: String(customer!.publishedVersion),
                version: String(customer!.entitlementVersion),
              })}
            </Text>
            <Subscriptions userId={id} />
            <SimpleGrid cols={{ base: 1, md: 2 }}>
              <HistoryCard userId={id} />
              <Stack>
                <Methods customer={customer!} />
                <Notes userId={id} />
              </Stack>
            </SimpleGrid>
            <Payments userId={id} />
          </Stack>
        )}
      </Loaded>
      {isGranting && <GrantDialog userId={id} onClose={() => setIsGranting(false)} />}
      {isErasing && <EraseDialog userId={id} onClose={() => setIsErasing(false)} />}
    </>
  );
}

function Subscriptions({ userId }: { readonly userId: string }) {
  const { t } = useSettings();
  const query = useQuery(SubscriptionAdminService.method.listSubscriptions, { userId });
  return (
    <section className="card">
      <Title order={2} size="h4" mb="xs">
        {t('subscriptions')}
      </Title>
      <Loaded query={query}>
        {({ subscriptions }) =>
          subscriptions.map((admin) => <SubscriptionLine key={admin.subscription!.id} admin={admin} />)
        }
      </Loaded>
    </section>
  );
}

function SubscriptionLine({ admin }: { readonly admin: AdminSubscription }) {
  const settings = useSettings();
  const { t, date, may } = settings;
  const [command, setCommand] = useState<SubscriptionCommand>();
  const subscription = admin.subscription!;
  const isOpen = subscription.endedAt === undefined;
  return (
    <Stack gap="xs" py="sm" className="line">
      <Group gap="sm">
        <Text fw={600}>{subscription.planCode}</Text>
        <Text c="dimmed">{priceText(settings, subscription.price)}</Text>
        <StatusTag subscription={subscription} />
        {admin.complimentary && <Tag tone="info">{t('complimentary')}</Tag>}
        <Text size="sm" c="dimmed">
          {date(subscription.currentPeriodStart, 'day')} –{' '}
          {date(subscription.endedAt ?? subscription.currentPeriodEnd, 'day')}
        </Text>
      </Group>
      {isOpen && (
        <Group gap={6}>
          {commands.map(([one, word]) => (
            <Button
              key={one}
              size="xs"
              variant="default"
              disabled={!admin.allowedCommands.includes(one) || !may('support')}
              title={may('support') ? '' : t('notAllowed')}
              onClick={() => setCommand(one)}
            >
              {t(word)}
            </Button>
          ))}
        </Group>
      )}
      {command !== undefined && <CommandDialog admin={admin} command={command} onClose={() => setCommand(undefined)} />}
    </Stack>
  );
}

function HistoryCard({ userId }: { readonly userId: string }) {
  const { t } = useSettings();
  const query = useInfiniteQuery(
    CustomerAdminService.method.listCustomerHistory,
    { userId, pageSize: 20, pageToken: '' },
    byPageToken,
  );
  return (
    <section className="card">
      <Title order={2} size="h4" mb="md">
        {t('history')}
      </Title>
      <Loaded query={query}>
        {({ pages }) => (
          <>
            <History events={pages.flatMap(({ events }) => events)} />
            <MoreButton query={query} />
          </>
        )}
      </Loaded>
    </section>
  );
}

function Methods({ customer }: { readonly customer: Customer }) {
  const { t, may } = useSettings();
  const [removing, setRemoving] = useState<string>();
  return (
    <section className="card">
      <Title order={2} size="h4" mb="xs">
        {t('methods')}
      </Title>
      {customer.paymentMethods.length === 0 && <Empty>{t('noMethods')}</Empty>}
      {customer.paymentMethods.map((method) => (
        <Group key={method.id} justify="space-between" py="xs" className="line">
          <Text>
            {method.brand} ··{method.last4}{' '}
            <span className="dim">
              {String(method.expiryMonth).padStart(2, '0')}/{method.expiryYear}
            </span>
          </Text>
          <Button size="xs" variant="default" disabled={!may('support')} onClick={() => setRemoving(method.id)}>
            {t('removeCard')}
          </Button>
        </Group>
      ))}
      {removing && <RemoveMethodDialog methodId={removing} onClose={() => setRemoving(undefined)} />}
    </section>
  );
}

function Notes({ userId }: { readonly userId: string }) {
  const { t } = useSettings();
  const query = useQuery(OperationsService.method.listAuditEntries, { userId, pageSize: 20 });
  return (
    <section className="card">
      <Title order={2} size="h4" mb="xs">
        {t('audit')}
      </Title>
      <Loaded query={query}>{({ entries }) => <AuditRows entries={entries} />}</Loaded>
    </section>
  );
}

function Payments({ userId }: { readonly userId: string }) {
  const { t } = useSettings();
  const query = useInfiniteQuery(
    PaymentAdminService.method.listPayments,
    { userId, pageSize: 20, pageToken: '' },
    byPageToken,
  );
  return (
    <section className="card">
      <Title order={2} size="h4" mb="xs">
        {t('payments')}
      </Title>
      <Loaded query={query}>
        {({ pages }) => (
          <>
            <PaymentRows payments={pages.flatMap(({ payments }) => payments)} withUser={false} />
            <MoreButton query={query} />
          </>
        )}
      </Loaded>
    </section>
  );
}
