import { useState, type ReactNode } from 'react';
import { Button, Group, SimpleGrid, Stack, Text, Title } from '@mantine/core';
import { useQuery } from '@connectrpc/connect-query';
import {
  PaymentAdminService,
  type ExplainPaymentResponse,
  type PaymentAttempt,
} from '@cinema-billing/gen/billing/admin/v1/payment_admin_service_pb.ts';
import { PaymentStatus } from '@cinema-billing/gen/billing/v1/payment_pb.ts';
import { Link, useParams } from 'wouter';
import { DisputeLines } from '../parts/dispute-lines.tsx';
import { History } from '../parts/history.tsx';
import { AttemptTag, PaymentTag, Tag } from '../parts/labels.tsx';
import { RefundDialog, ResolveDialog } from '../parts/payment-dialogs.tsx';
import { Empty, Loaded, PageHead } from '../parts/states.tsx';
import { useSettings } from '../settings.tsx';
import type { Word } from '../texts.ts';

export default function Payment() {
  const { id = '' } = useParams();
  const query = useQuery(PaymentAdminService.method.explainPayment, { paymentId: id });
  return <Loaded query={query}>{(explained) => <Explained explained={explained} />}</Loaded>;
}

function Explained({ explained }: { readonly explained: ExplainPaymentResponse }) {
  const { t, money, may, date } = useSettings();
  const [dialog, setDialog] = useState<'refund' | 'resolve'>();
  const admin = explained.payment!;
  const payment = admin.payment!;
  const left = payment.amount!.amountMinor - (payment.refunded?.amountMinor ?? 0n);
  return (
    <>
      <PageHead
        title={
          <>
            {money(payment.amount)} <PaymentTag status={payment.status} />
          </>
        }
        aside={
          <>
            <Button
              variant="default"
              disabled={payment.status !== PaymentStatus.SUCCEEDED || left <= 0n || !may('support')}
              onClick={() => setDialog('refund')}
            >
              {t('refund')}
            </Button>
            <Button
              variant="default"
              disabled={payment.status !== PaymentStatus.PENDING || !may('support')}
              onClick={() => setDialog('resolve')}
            >
              {t('resolve')}
            </Button>
          </>
        }
      />
      <Stack>
        <Why explained={explained} />
        <SimpleGrid cols={{ base: 1, md: 2 }}>
          <Card title={t('attempts')}>
            {admin.attempts.map((attempt) => (
              <AttemptLine key={attempt.id} attempt={attempt} />
            ))}
          </Card>
          <Stack>
            <Card title={t('refunds')}>
              {admin.refunds.length === 0 && <Empty>{t('none')}</Empty>}
              {admin.refunds.map((refund) => (
                <Group key={refund.id} justify="space-between" py="xs" className="line">
                  <Text fw={600}>{money(refund.amount)}</Text>
                  <Text size="sm" c="dimmed">
                    {date(refund.createdAt)} · {refund.cause}
                  </Text>
                </Group>
              ))}
            </Card>
            {admin.disputes.length > 0 && (
              <Card title={t('queueDisputes')}>
                <DisputeLines disputes={admin.disputes} />
              </Card>
            )}
            <Card title={t('notices')}>
              {explained.webhookEvents.length === 0 && <Empty>{t('none')}</Empty>}
              {explained.webhookEvents.map((event) => (
                <Group key={event.providerEventId} justify="space-between" py="xs" className="line">
                  <Text>{event.type}</Text>
                  <Text size="sm" c="dimmed">
                    {date(event.receivedAt)}
                  </Text>
                </Group>
              ))}
            </Card>
          </Stack>
        </SimpleGrid>
        <Card title={t('history')}>
          <History events={explained.events} />
        </Card>
      </Stack>
      {dialog === 'refund' && <RefundDialog payment={admin} onClose={() => setDialog(undefined)} />}
      {dialog === 'resolve' && <ResolveDialog payment={admin} onClose={() => setDialog(undefined)} />}
    </>
  );
}

/** Periods are counted from 1 here, as people count; the contract counts from 0. */
function Why({ explained: { payment: admin, due, subscription } }: { readonly explained: ExplainPaymentResponse }) {
  const { t, date, money } = useSettings();
  const { id, amount, adjustments, periodStart, periodEnd } = admin!.payment!;
  const listMinor = adjustments.reduce((sum, line) => sum - line.amount!.amountMinor, amount!.amountMinor);
  return (
    <section className="card">
      <Text size="lg" fw={600}>
        {t(`due_${due?.kind ?? 0}` as Word, { cycle: (due?.cycle ?? 0) + 1 })}
      </Text>
      {due?.anchorAt && periodStart && (
        <Text mt={4}>
          {t('periodMath', {
            anchor: date(due.anchorAt),
            anchorCycle: due.anchorCycle + 1,
            zone: due.billingTimeZone,
            start: date(periodStart),
            end: date(periodEnd),
          })}
        </Text>
      )}
      {adjustments.map((line) => (
        <Text key={line.promoCode} mt={4}>
          {t('priceLess', {
            price: money({ ...amount!, amountMinor: listMinor }),
            code: line.promoCode,
            off: money(line.amount),
          })}
        </Text>
      ))}
      <Text mt="sm" size="sm" c="dimmed">
        <span className="mono">{id}</span> ·{' '}
        <Link href={`/users/${admin!.userId}`} className="row-link">
          {t('user')}
        </Link>{' '}
        · {subscription?.planCode}
      </Text>
    </section>
  );
}

function AttemptLine({ attempt }: { readonly attempt: PaymentAttempt }) {
  const { t, date } = useSettings();
  return (
    <Stack gap={2} py="sm" className="line">
      <Group gap="sm">
        <Text fw={600}>{attempt.attached ? t('attachedMoney') : t('attempt', { n: attempt.attemptNumber })}</Text>
        <AttemptTag state={attempt.state} />
        {attempt.declineCode !== '' && <Tag tone="calm">{attempt.declineCode}</Tag>}
      </Group>
      <Text size="sm" c="dimmed">
        {date(attempt.createdAt)} · {attempt.provider} {attempt.methodLabel}
      </Text>
      <Text size="sm" c="dimmed">
        {t('key')}: <span className="mono">{attempt.idempotencyKey}</span>
      </Text>
      <Text size="sm" c="dimmed">
        {t('providerId')}: <span className="mono">{attempt.providerPaymentId || '—'}</span>
      </Text>
    </Stack>
  );
}

function Card({ title, children }: { readonly title: string; readonly children: ReactNode }) {
  return (
    <section className="card">
      <Title order={2} size="h4" mb="xs">
        {title}
      </Title>
      {children}
    </section>
  );
}
