import { Group, Text } from '@mantine/core';
import { DisputeState, type Dispute } from '@cinema-billing/gen/billing/admin/v1/payment_admin_service_pb.ts';
import { Link } from 'wouter';
import { useSettings } from '../settings.tsx';
import type { Word } from '../texts.ts';
import { Tag } from './labels.tsx';

/** Disputes of cardholders; evidence is handed in at the payment system, under its own id. */
export function DisputeLines({ disputes }: { readonly disputes: readonly Dispute[] }) {
  const { t, money, date } = useSettings();
  return disputes.map(({ id, paymentId, amount, state, reason, provider, providerDisputeId, openedAt, closedAt }) => (
    <Group key={id} justify="space-between" py="sm" className="line">
      <div>
        <Group gap="sm">
          <Link href={`/payments/${paymentId}`} className="row-link">
            {money(amount)}
          </Link>
          <Tag tone={state === DisputeState.OPEN ? 'warn' : state === DisputeState.LOST ? 'bad' : 'good'}>
            {t(`dispute_${state}` as Word)}
          </Tag>
        </Group>
        <Text size="sm" c="dimmed" className="wrap">
          {reason} · {provider} <span className="mono">{providerDisputeId}</span>
        </Text>
      </div>
      <Text size="sm" c="dimmed">
        {date(openedAt)}
        {closedAt && ` – ${date(closedAt)}`}
      </Text>
    </Group>
  ));
}
