import { useState } from 'react';
import { Button, Checkbox, Collapse, Group, Select, SimpleGrid, TextInput } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { useInfiniteQuery } from '@connectrpc/connect-query';
import { useMutation } from '@tanstack/react-query';
import {
  CustomerAdminService,
  CustomerOrder,
  type CustomerSummary,
} from '@cinema-billing/gen/billing/admin/v1/customer_admin_service_pb.ts';
import { SubscriptionStatus } from '@cinema-billing/gen/billing/v1/subscription_pb.ts';
import { Link } from 'wouter';
import { customerClient } from '../api.ts';
import { parseAmount } from '../format.ts';
import { saveFile } from '../save-file.ts';
import { priceText, StatusTag } from '../parts/labels.tsx';
import { byPageToken, MoreButton } from '../parts/pages-of.tsx';
import { Empty, Loaded, PageHead } from '../parts/states.tsx';
import { useSettings } from '../settings.tsx';
import type { Word } from '../texts.ts';

const typingPauseMs = 250;
/** Of 500 lines each: a million viewers, some 100 MB. */
const partsMax = 2_000;
const statuses = [
  SubscriptionStatus.ACTIVE,
  SubscriptionStatus.TRIALING,
  SubscriptionStatus.PAST_DUE,
  SubscriptionStatus.INCOMPLETE,
  SubscriptionStatus.CANCELED,
];
interface Filters {
  readonly query: string;
  readonly status: SubscriptionStatus;
  readonly includeNeverActive: boolean;
  readonly order: CustomerOrder;
  readonly last4: string;
  readonly amount: string;
  readonly currencyCode: string;
  readonly paidOn: string;
}

const noFilters: Filters = {
  query: '',
  status: SubscriptionStatus.UNSPECIFIED,
  includeNeverActive: false,
  order: CustomerOrder.NEWEST_FIRST,
  last4: '',
  amount: '',
  currencyCode: 'RUB',
  paidOn: '',
};

/** What the contract takes; a card's part that is not complete yet matches anything. */
function requestOf({ last4, amount, currencyCode, paidOn, query, ...rest }: Filters) {
  const amountMinor = parseAmount(amount, currencyCode);
  const card = {
    last4: /^\d{4}$/.test(last4) ? last4 : '',
    paidOn,
    ...(amountMinor !== undefined && { amount: { currencyCode, amountMinor } }),
  };
  const isEmpty = card.last4 === '' && paidOn === '' && amountMinor === undefined;
  return { ...rest, query: query.trim(), pageToken: '', ...(!isEmpty && { card }) };
}

export default function Users() {
  const { t } = useSettings();
  const [filters, change] = useState(noFilters);
  const [settled] = useDebouncedValue(filters, typingPauseMs);
  const query = useInfiniteQuery(CustomerAdminService.method.listCustomers, requestOf(settled), byPageToken);
  const customers = query.data?.pages.flatMap((page) => page.customers) ?? [];
  return (
    <>
      <PageHead title={t('users')} aside={<ExportButton filters={settled} disabled={customers.length === 0} />} />
      <FilterBar filters={filters} change={change} />
      <Loaded query={query}>
        {() => (
          <section className="card">
            {customers.length === 0 ? <Empty>{t('noUsers')}</Empty> : <UserRows customers={customers} />}
            <MoreButton query={query} />
          </section>
        )}
      </Loaded>
    </>
  );
}

/** The file of all that the search finds, however many pages the list shows. */
function ExportButton({ filters, disabled }: { filters: Filters; disabled: boolean }) {
  const { t } = useSettings();
  const download = useMutation({
    mutationFn: async () => {
      const parts: string[] = [];
      let pageToken = '';
      do {
        // A part of the file is no file.
        if (parts.length === partsMax) throw new Error('more than a file can hold');
        const answer = await customerClient.exportCustomers({ search: { ...requestOf(filters), pageToken } });
        parts.push(answer.csv);
        pageToken = answer.nextPageToken;
      } while (pageToken !== '');
      saveFile('users.csv', parts.join(''));
    },
  });
  return (
    <Button
      variant="default"
      color={download.isError ? 'red' : undefined}
      disabled={disabled}
      loading={download.isPending}
      onClick={() => download.mutate()}
    >
      {t(download.isError ? 'csvFailed' : 'csv')}
    </Button>
  );
}

function FilterBar({ filters, change }: { filters: Filters; change: (filters: Filters) => void }) {
  const { t } = useSettings();
  const [isCardOpen, setIsCardOpen] = useState(false);
  const set = (part: Partial<Filters>) => change({ ...filters, ...part });
  return (
    <section className="card filters">
      <Group align="end" gap="sm">
        <TextInput
          flex="1 1 280px"
          type="search"
          label={t('searchUsers')}
          maxLength={128}
          value={filters.query}
          onChange={(event) => set({ query: event.currentTarget.value })}
        />
        <Select
          w={170}
          label={t('status')}
          allowDeselect={false}
          data={[
            { value: '0', label: t('all') },
            ...statuses.map((status) => ({ value: String(status), label: t(`status_${status}` as Word) })),
          ]}
          value={String(filters.status)}
          onChange={(value) => set({ status: Number(value) as SubscriptionStatus })}
        />
        <Select
          w={170}
          label={t('since')}
          allowDeselect={false}
          data={[
            { value: String(CustomerOrder.NEWEST_FIRST), label: t('newestFirst') },
            { value: String(CustomerOrder.OLDEST_FIRST), label: t('oldestFirst') },
          ]}
          value={String(filters.order)}
          onChange={(value) => set({ order: Number(value) as CustomerOrder })}
        />
        <Button variant="default" aria-expanded={isCardOpen} onClick={() => setIsCardOpen(!isCardOpen)}>
          {t('byCard')}
        </Button>
      </Group>
      <Collapse expanded={isCardOpen}>
        <SimpleGrid cols={{ base: 1, xs: 3 }} mt="sm">
          <TextInput
            label={t('last4')}
            inputMode="numeric"
            maxLength={4}
            value={filters.last4}
            onChange={(event) => set({ last4: event.currentTarget.value })}
          />
          <TextInput
            label={`${t('amount')}, ${filters.currencyCode}`}
            inputMode="decimal"
            maxLength={20}
            value={filters.amount}
            onChange={(event) => set({ amount: event.currentTarget.value })}
          />
          <TextInput
            label={t('paidOn')}
            type="date"
            value={filters.paidOn}
            onChange={(event) => set({ paidOn: event.currentTarget.value })}
          />
        </SimpleGrid>
      </Collapse>
      <Checkbox
        mt="sm"
        label={t('neverActive')}
        checked={filters.includeNeverActive}
        onChange={(event) => set({ includeNeverActive: event.currentTarget.checked })}
      />
    </section>
  );
}

function UserRows({ customers }: { readonly customers: readonly CustomerSummary[] }) {
  const settings = useSettings();
  const { t, date } = settings;
  return (
    <table className="rows">
      <thead>
        <tr>
          <th>{t('user')}</th>
          <th>{t('subscription')}</th>
          <th>{t('status')}</th>
          <th className="number">{t('since')}</th>
        </tr>
      </thead>
      <tbody>
        {customers.map(({ userId, subscription, createdAt }) => (
          <tr key={userId}>
            <td>
              <Link href={`/users/${userId}`} className="row-link mono">
                {userId}
              </Link>
            </td>
            <td>
              {subscription?.planCode} <span className="dim">{priceText(settings, subscription?.price)}</span>
            </td>
            <td>
              <StatusTag subscription={subscription} />
            </td>
            <td className="number dim">{date(createdAt, 'day')}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
