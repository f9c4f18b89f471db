import { Group, Text, Timeline } from '@mantine/core';
import type { SubscriptionEvent } from '@cinema-billing/gen/billing/v1/subscription_pb.ts';
import { useSettings } from '../settings.tsx';
import type { Word } from '../texts.ts';
import { Empty } from './states.tsx';

const badKinds = new Set([3, 5, 8, 10, 18, 21, 40, 41]);

/** What happened, with who did it and why. */
export function History({ events }: { readonly events: readonly SubscriptionEvent[] }) {
  const { t, date, money } = useSettings();
  if (events.length === 0) return <Empty>{t('noHistory')}</Empty>;
  return (
    <Timeline bulletSize={14} lineWidth={2} active={events.length} color="violet">
      {events.map((event) => (
        <Timeline.Item
          key={event.id}
          color={badKinds.has(event.kind) ? 'orange.7' : 'violet'}
          title={t(`event_${event.kind}` as Word)}
        >
          <Group gap={8}>
            <Text size="sm" c="dimmed">
              {date(event.occurredAt)} · {t(`actor_${event.actorKind}` as Word, { id: event.actorId })}
              {event.after?.planCode && ` · ${event.after.planCode}, ${money(event.after.amount)}`}
            </Text>
          </Group>
          {event.reason !== '' && (
            <Text size="sm" className={/^[A-Z_]+$/.test(event.reason) ? 'mono dim' : 'wrap'}>
              {event.reason}
            </Text>
          )}
        </Timeline.Item>
      ))}
    </Timeline>
  );
}
