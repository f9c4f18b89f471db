import { useEffect, useRef, useState } from 'react';
import { Button, Group, SegmentedControl, Text } from '@mantine/core';
import { useInfiniteQuery } from '@connectrpc/connect-query';
import {
  AttemptState,
  PaymentAdminService,
  WebhookEventState,
  type WebhookEvent,
} from '@cinema-billing/gen/billing/admin/v1/payment_admin_service_pb.ts';
import { useSearchParams } from 'wouter';
import { Age } from '../parts/age.tsx';
import { AttachDialog } from '../parts/attach-dialog.tsx';
import { DisputeLines } from '../parts/dispute-lines.tsx';
import { byPageToken, MoreButton } from '../parts/pages-of.tsx';
import { ReplayDialog } from '../parts/payment-dialogs.tsx';
import { PaymentRows } from '../parts/payment-rows.tsx';
import { Empty, Loaded, PageHead } from '../parts/states.tsx';
import { useSettings } from '../settings.tsx';

/** What the address says, so that the overview can link to each queue. */
type Queue = 'all' | 'unknown' | 'parked' | 'disputes' | 'orphan' | 'quarantine';

export default function Payments() {
  const { t } = useSettings();
  const [search, setSearch] = useSearchParams();
  const queue = (search.get('queue') ?? 'all') as Queue;
  const bar = useRef<HTMLDivElement>(null);
  // A phone shows three of the six.
  useEffect(() => {
    bar.current?.querySelector('[data-active]')?.scrollIntoView({ inline: 'center', block: 'nearest' });
  }, [queue]);
  return (
    <>
      <PageHead title={t('payments')} />
      <div className="table-scroll filters" ref={bar}>
        <SegmentedControl
          aria-label={t('status')}
          value={queue}
          onChange={(value) => setSearch(value === 'all' ? {} : { queue: value })}
          data={[
            { value: 'all', label: t('queueAll') },
            { value: 'unknown', label: t('queueUnknown') },
            { value: 'parked', label: t('queueParked') },
            { value: 'disputes', label: t('queueDisputes') },
            { value: 'orphan', label: t('queueOrphan') },
            { value: 'quarantine', label: t('queueQuarantine') },
          ]}
        />
      </div>
      {queue === 'disputes' && <Disputes />}
      {queue === 'orphan' && <Notices state={WebhookEventState.ORPHAN} />}
      {queue === 'quarantine' && <Notices state={WebhookEventState.QUARANTINED} />}
      {queue === 'all' && <PaymentList attemptState={AttemptState.UNSPECIFIED} />}
      {queue === 'unknown' && <PaymentList attemptState={AttemptState.UNKNOWN} />}
      {queue === 'parked' && <PaymentList attemptState={AttemptState.PARKED} />}
    </>
  );
}

function PaymentList({ attemptState }: { readonly attemptState: AttemptState }) {
  const query = useInfiniteQuery(PaymentAdminService.method.listPayments, { attemptState, pageToken: '' }, byPageToken);
  return (
    <Loaded query={query}>
      {({ pages }) => (
        <section className="card">
          <PaymentRows payments={pages.flatMap(({ payments }) => payments)} withUser />
          <MoreButton query={query} />
        </section>
      )}
    </Loaded>
  );
}

function Disputes() {
  const { t } = useSettings();
  const query = useInfiniteQuery(PaymentAdminService.method.listDisputes, { pageToken: '' }, byPageToken);
  return (
    <Loaded query={query}>
      {({ pages }) => {
        const disputes = pages.flatMap((page) => page.disputes);
        return (
          <section className="card">
            {disputes.length === 0 && <Empty>{t('none')}</Empty>}
            <DisputeLines disputes={disputes} />
            <MoreButton query={query} />
          </section>
        );
      }}
    </Loaded>
  );
}

function Notices({ state }: { readonly state: WebhookEventState }) {
  const { t } = useSettings();
  const query = useInfiniteQuery(PaymentAdminService.method.listWebhookEvents, { state, pageToken: '' }, byPageToken);
  return (
    <Loaded query={query}>
      {({ pages }) => {
        const events = pages.flatMap(({ events }) => events);
        return (
          <section className="card">
            {events.length === 0 && <Empty>{t('none')}</Empty>}
            {events.map((event) => (
              <NoticeLine key={`${event.provider} ${event.providerEventId}`} event={event} />
            ))}
            <MoreButton query={query} />
          </section>
        );
      }}
    </Loaded>
  );
}

function NoticeLine({ event }: { readonly event: WebhookEvent }) {
  const { t, date, may } = useSettings();
  const [open, setOpen] = useState<'replay' | 'attach'>();
  const close = () => setOpen(undefined);
  return (
    <Group justify="space-between" py="sm" className="line">
      <div>
        <Text fw={600}>{event.type}</Text>
        <Text size="sm" c="dimmed" className="wrap">
          {date(event.receivedAt)} · <Age at={event.receivedAt} /> ·{' '}
          <span className="mono">{event.providerPaymentId || event.providerEventId}</span>
        </Text>
        <Text size="sm" className="wrap">
          {event.note}
        </Text>
      </div>
      <Group gap="xs">
        {event.state === WebhookEventState.ORPHAN && (
          <Button size="xs" variant="default" disabled={!may('admin')} onClick={() => setOpen('attach')}>
            {t('attach')}
          </Button>
        )}
        <Button size="xs" variant="default" disabled={!may('support')} onClick={() => setOpen('replay')}>
          {t('replay')}
        </Button>
      </Group>
      {open === 'attach' && <AttachDialog event={event} onClose={close} />}
      {open === 'replay' && <ReplayDialog event={event} onClose={close} />}
    </Group>
  );
}
