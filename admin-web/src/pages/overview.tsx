import { useState, type ReactNode } from 'react';
import { Group, SegmentedControl, SimpleGrid, Stack, Text, Title } from '@mantine/core';
import { useQuery } from '@connectrpc/connect-query';
import {
  OperationsService,
  type AttentionCounts,
  type GetMetricsResponse,
  type SubscriptionCounts,
} from '@cinema-billing/gen/billing/admin/v1/operations_service_pb.ts';
import { timestampDate, type Timestamp } from '@bufbuild/protobuf/wkt';
import { Link } from 'wouter';
import { formatAge } from '../format.ts';
import { DayBars } from '../parts/day-bars.tsx';
import { Tag } from '../parts/labels.tsx';
import { Empty, Loaded, PageHead } from '../parts/states.tsx';
import { useSettings } from '../settings.tsx';
import type { Word } from '../texts.ts';

const dayMs = 86_400_000;
const spans = [7, 30, 90] as const;

export default function Overview() {
  const { t } = useSettings();
  const [days, setDays] = useState<number>(30);
  // The service knows which day it is by the business clock; the span is counted back from there.
  const today = useQuery(OperationsService.method.getMetrics, {});
  const toDay = today.data?.toDay ?? '';
  const fromDay = toDay === '' ? '' : new Date(Date.parse(toDay) - (days - 1) * dayMs).toISOString().slice(0, 10);
  const query = useQuery(OperationsService.method.getMetrics, { fromDay, toDay }, { enabled: toDay !== '' });
  return (
    <>
      <PageHead
        title={t('overview')}
        aside={
          <SegmentedControl
            aria-label={t('revenueByDay')}
            value={String(days)}
            onChange={(value) => setDays(Number(value))}
            data={spans.map((span) => ({ value: String(span), label: t(`days${span}`) }))}
          />
        }
      />
      <Loaded query={today.error ? today : query}>{(metrics) => <Figures metrics={metrics} />}</Loaded>
    </>
  );
}

function Figures({ metrics }: { readonly metrics: GetMetricsResponse }) {
  const { t, money, date } = useSettings();
  const counts = metrics.counts!;
  const churned = metrics.churnedVoluntaryCount + metrics.churnedInvoluntaryCount;
  const currencies = [...new Set(metrics.revenue.map(({ charged, refunded }) => (charged ?? refunded)!.currencyCode))];
  return (
    <Stack>
      <SimpleGrid cols={{ base: 2, lg: 4 }} spacing={{ base: 'sm', sm: 'md' }}>
        <Figure
          label={t('mrr')}
          value={metrics.monthlyRecurringRevenue.map((amount) => money(amount)).join(' · ') || '—'}
          note={t('asOf', { date: date(metrics.asOf) })}
        />
        <Figure
          label={t('active')}
          value={String(counts.active + counts.trialing)}
          note={t('activeNote', { trial: Number(counts.trialing), due: Number(counts.pastDue) })}
        />
        <Figure
          label={t('churn')}
          value={share(churned, metrics.activeAtStartCount)}
          note={t('churnNote', {
            voluntary: Number(metrics.churnedVoluntaryCount),
            involuntary: Number(metrics.churnedInvoluntaryCount),
          })}
        />
        <Figure
          label={t('recovery')}
          value={share(metrics.recoveredRenewalCount, metrics.declinedRenewalCount)}
          note={t('recoveryNote', {
            n: Number(metrics.recoveredRenewalCount),
            all: Number(metrics.declinedRenewalCount),
          })}
        />
      </SimpleGrid>
      <SimpleGrid cols={{ base: 1, md: 2 }}>
        <Attention attention={metrics.attention!} asOf={metrics.asOf!} />
        <ByStatus counts={counts} />
      </SimpleGrid>
      <section className="card">
        <Title order={2} size="h4" mb="sm">
          {t('revenueByDay')}
        </Title>
        {currencies.length === 0 && <Empty>{t('noRevenue')}</Empty>}
        {currencies.map((currencyCode) => (
          <DayBars
            key={currencyCode}
            fromDay={metrics.fromDay}
            toDay={metrics.toDay}
            currencyCode={currencyCode}
            revenue={metrics.revenue}
          />
        ))}
      </section>
    </Stack>
  );
}

interface FigureProps {
  readonly label: string;
  readonly value: string;
  readonly note: string;
}

function Figure({ label, value, note }: FigureProps) {
  return (
    <section className="card">
      <Text size="sm" c="dimmed">
        {label}
      </Text>
      <div className="price">{value}</div>
      <Text size="sm" c="dimmed">
        {note}
      </Text>
    </section>
  );
}

/** Whole per cents are exact enough to look at; nothing of nothing is no share. */
function share(part: bigint, whole: bigint): string {
  return whole === 0n ? '—' : `${Math.round((Number(part) * 1_000) / Number(whole)) / 10} %`;
}

function Attention({ attention, asOf }: { readonly attention: AttentionCounts; readonly asOf: Timestamp }) {
  const { t, language } = useSettings();
  const oldest = attention.oldestUnknownAt;
  const rows: [bigint, Word, string][] = [
    [attention.unknownPayments, 'att_unknown', '/payments?queue=unknown'],
    [attention.parkedPayments, 'att_parked', '/payments?queue=parked'],
    [attention.openDisputes, 'att_disputes', '/payments?queue=disputes'],
    [attention.orphanEvents, 'att_orphan', '/payments?queue=orphan'],
    [attention.quarantinedEvents, 'att_quarantined', '/payments?queue=quarantine'],
    [attention.failedRefunds, 'att_refunds', '/payments'],
    [attention.unpublishedMessages, 'att_messages', ''],
  ];
  const open = rows.filter(([count]) => count > 0n);
  return (
    <section className="card">
      <Title order={2} size="h4" mb="sm">
        {t('attention')}
      </Title>
      {open.length === 0 && <Text c="dimmed">{t('allCalm')}</Text>}
      {open.map(([count, word, href]) => (
        <Group key={word} gap="sm" py={6} wrap="nowrap" align="baseline">
          <Tag tone="warn">{String(count)}</Tag>
          {href === '' ? (
            t(word)
          ) : (
            <Link href={href} className="row-link">
              {t(word)}
            </Link>
          )}
          {word === 'att_unknown' && oldest && (
            <span className="dim">
              {t('att_oldest', { age: formatAge(oldest, timestampDate(asOf).getTime(), language) })}
            </span>
          )}
        </Group>
      ))}
    </section>
  );
}

function ByStatus({ counts }: { readonly counts: SubscriptionCounts }) {
  const { t } = useSettings();
  const parts: [ReactNode, bigint, string][] = [
    [t('status_4'), counts.active, 'active'],
    [t('status_3'), counts.trialing, 'trialing'],
    [t('status_5'), counts.pastDue, 'past-due'],
    [t('status_1'), counts.incomplete, 'incomplete'],
  ];
  return (
    <section className="card">
      <Title order={2} size="h4" mb="sm">
        {t('byStatus')}
      </Title>
      <svg className="split-bar" viewBox="0 0 100 6" preserveAspectRatio="none" width="100%" height="14" aria-hidden>
        {shares(parts.map(([, count]) => Number(count))).map(([x, width], at) => (
          <rect key={parts[at]![2]} className={parts[at]![2]} x={x} width={width} height={6} />
        ))}
      </svg>
      <Group gap="md" mt="sm">
        {parts.map(([label, count, name]) => (
          <Text key={name} size="sm">
            <span className={`dot ${name}`} aria-hidden /> {label} <b>{String(count)}</b>
          </Text>
        ))}
      </Group>
      <Text size="sm" c="dimmed" mt="xs">
        {t('ending')}: {String(counts.ending)} · {t('complimentary')}: {String(counts.complimentary)}
      </Text>
    </section>
  );
}

/** Where each part begins and how wide it is, of 100. */
function shares(counts: readonly number[]): [number, number][] {
  const all = counts.reduce((sum, count) => sum + count, 0) || 1;
  let at = 0;
  return counts.map((count) => {
    const width = (count * 100) / all;
    at += width;
    return [at - width, width];
  });
}
