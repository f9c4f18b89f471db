import { Text, Title } from '@mantine/core';
import { useInfiniteQuery } from '@connectrpc/connect-query';
import {
  DeliveryState,
  SandboxService,
  type Delivery,
} from '@cinema-billing/gen/billing/sandbox/v1/sandbox_service_pb.ts';
import { reasonOf } from '../api.ts';
import { useSettings } from '../settings.tsx';
import type { Word } from '../texts.ts';
import { Tag, type Tone } from './labels.tsx';
import { byPageToken, MoreButton } from './pages-of.tsx';
import { Loaded } from './states.tsx';

const lookEveryMs = 2_000;
const pageSize = 10;
const tones: Readonly<Record<DeliveryState, Tone>> = {
  [DeliveryState.UNSPECIFIED]: 'calm',
  [DeliveryState.WAITING]: 'info',
  [DeliveryState.HELD_BACK]: 'warn',
  [DeliveryState.DELIVERED]: 'good',
  [DeliveryState.LOST]: 'bad',
  [DeliveryState.GIVEN_UP]: 'bad',
};

/** Doubles of other payment systems keep no list, and will not begin to. */
const isNotListed = (error: unknown) => error !== null && reasonOf(error) === 'DELIVERIES_NOT_LISTED';

/** The payment system's notices about this viewer, those that never arrived as well. */
export function DeliveriesCard({ viewer }: { readonly viewer: string }) {
  const { t } = useSettings();
  const query = useInfiniteQuery(
    SandboxService.method.listDeliveries,
    { userId: viewer, pageSize, pageToken: '' },
    { ...byPageToken, refetchInterval: ({ state }) => !isNotListed(state.error) && lookEveryMs },
  );
  return (
    <section className="card" data-testid="deliveries">
      <Title order={2} size="h4" mb="xs">
        {t('deliveries')}
      </Title>
      {isNotListed(query.error) ? (
        <Text c="dimmed">{t('deliveriesNotListed')}</Text>
      ) : (
        <Loaded query={query}>
          {({ pages }) => (
            <>
              <DeliveryRows deliveries={pages.flatMap(({ deliveries }) => deliveries)} />
              <MoreButton query={query} />
            </>
          )}
        </Loaded>
      )}
    </section>
  );
}

function DeliveryRows({ deliveries }: { readonly deliveries: readonly Delivery[] }) {
  const { t, date } = useSettings();
  if (deliveries.length === 0) return <Text c="dimmed">{t('noDeliveries')}</Text>;
  return (
    <table className="rows">
      <thead>
        <tr>
          <th>{t('what')}</th>
          <th>{t('status')}</th>
          <th>{t('answer')}</th>
          <th>{t('when')}</th>
        </tr>
      </thead>
      <tbody>
        {deliveries.map((delivery) => (
          <tr key={delivery.providerEventId}>
            <td>
              <Text fw={550}>{delivery.type}</Text>
              <span className="mono dim">{delivery.providerPaymentId}</span>
            </td>
            <td>
              <Tag tone={tones[delivery.state] ?? 'calm'}>{t(`delivery_${delivery.state}` as Word)}</Tag>
            </td>
            <td>
              <Answer delivery={delivery} />
            </td>
            <td className="line-of-its-own">
              <Text size="sm" c="dimmed">
                {date(delivery.createdAt)}
                {delivery.nextTryAt && <br />}
                {delivery.nextTryAt && t('goesOut', { date: date(delivery.nextTryAt) })}
              </Text>
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Answer({ delivery: { tries, lastHttpStatus } }: { readonly delivery: Delivery }) {
  const { t } = useSettings();
  const answer = lastHttpStatus === 0 ? t('noAnswer') : t('answered', { status: lastHttpStatus });
  return <Text size="sm">{tries === 0 ? t('notSent') : `${answer}, ${t('tries', { n: tries })}`}</Text>;
}
