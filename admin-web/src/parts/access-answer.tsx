import { Group, Text, Title } from '@mantine/core';
import type { ProductLineAccess } from '@cinema-billing/gen/billing/admin/v1/customer_admin_service_pb.ts';
import { useSettings } from '../settings.tsx';
import type { Word } from '../texts.ts';

/** The answer to the commonest calls: access until when and why, the next charge, with which card. */
export function AccessAnswer({ access }: { readonly access: ProductLineAccess }) {
  const { t, money, date } = useSettings();
  const { hasAccess, accessUntil, reason, nextChargeAmount, nextChargeAt, paymentMethod } = access;
  return (
    <section className={hasAccess ? 'answer' : 'answer off'} data-testid="access">
      <Text size="sm" fw={550}>
        {access.productLine} · {access.subscription?.planCode}
      </Text>
      <Title order={2} mt={4}>
        {hasAccess ? t('accessUntil', { date: date(accessUntil, 'day') }) : t('noAccess')}{' '}
        {t('because', { why: t(`access_${reason}` as Word) })}.
      </Title>
      <Group mt="sm" gap="xs">
        <Text fw={500}>
          {nextChargeAt === undefined
            ? t('noNextCharge')
            : t('nextCharge', { amount: money(nextChargeAmount), date: date(nextChargeAt, 'day') })}
          {nextChargeAt !== undefined && paymentMethod && `, ${t('card')} ··${paymentMethod.last4}`}.
        </Text>
      </Group>
    </section>
  );
}
