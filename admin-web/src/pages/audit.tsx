import { useState } from 'react';
import { Group, TextInput } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { useInfiniteQuery } from '@connectrpc/connect-query';
import { OperationsService } from '@cinema-billing/gen/billing/admin/v1/operations_service_pb.ts';
import { AuditRows } from '../parts/audit-rows.tsx';
import { byPageToken, MoreButton } from '../parts/pages-of.tsx';
import { Loaded, PageHead } from '../parts/states.tsx';
import { useSettings } from '../settings.tsx';

const typingPauseMs = 250;
const actionForm = /^([A-Z][A-Za-z]{0,63})?$/;

export default function Audit() {
  const { t } = useSettings();
  const [filters, change] = useState({ actorId: '', action: '' });
  const [settled] = useDebouncedValue(filters, typingPauseMs);
  const action = actionForm.test(settled.action) ? settled.action : '';
  const query = useInfiniteQuery(
    OperationsService.method.listAuditEntries,
    { actorId: settled.actorId.trim(), action, pageToken: '' },
    byPageToken,
  );
  return (
    <>
      <PageHead title={t('audit')} />
      <Group className="filters" gap="sm">
        <TextInput
          flex="1 1 200px"
          label={t('who')}
          maxLength={128}
          value={filters.actorId}
          onChange={(event) => change({ ...filters, actorId: event.currentTarget.value })}
        />
        <TextInput
          flex="1 1 200px"
          label={t('what')}
          placeholder="ArchivePlan"
          maxLength={64}
          value={filters.action}
          onChange={(event) => change({ ...filters, action: event.currentTarget.value })}
        />
      </Group>
      <Loaded query={query}>
        {({ pages }) => (
          <section className="card">
            <AuditRows entries={pages.flatMap(({ entries }) => entries)} />
            <MoreButton query={query} />
          </section>
        )}
      </Loaded>
    </>
  );
}
