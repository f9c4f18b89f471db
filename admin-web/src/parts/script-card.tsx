import { useState } from 'react';
import { Button, Group, Select, Text, Title } from '@mantine/core';
import { createClient } from '@connectrpc/connect';
import { useMutation } from '@tanstack/react-query';
import {
  ChargeOutcome,
  NoticeFault,
  SandboxService,
} from '@cinema-billing/gen/billing/sandbox/v1/sandbox_service_pb.ts';
import { transport } from '../api.ts';
import { useSettings } from '../settings.tsx';
import type { Word } from '../texts.ts';
import { Problem } from './states.tsx';

const sandbox = createClient(SandboxService, transport);
const outcomes = [
  ChargeOutcome.UNSPECIFIED,
  ChargeOutcome.SOFT_DECLINE,
  ChargeOutcome.HARD_DECLINE,
  ChargeOutcome.ACTION_REQUIRED,
  ChargeOutcome.PAID_UNANSWERED,
  ChargeOutcome.NOTHING_UNANSWERED,
  ChargeOutcome.STORED_ERROR,
];
const faults = [NoticeFault.UNSPECIFIED, NoticeFault.DUPLICATED, NoticeFault.LATE, NoticeFault.LOST];

/** What the payment system does with this viewer's next renewal, and with the notices about it. */
export function ScriptCard({ viewer }: { readonly viewer: string }) {
  const { t } = useSettings();
  const [outcome, setOutcome] = useState<ChargeOutcome>(ChargeOutcome.UNSPECIFIED);
  const [notices, setNotices] = useState<NoticeFault>(NoticeFault.UNSPECIFIED);
  const script = useMutation({
    mutationFn: () =>
      sandbox.scriptOutcome({
        userId: viewer,
        charges: outcome === ChargeOutcome.UNSPECIFIED ? [] : [{ outcome }],
        notices,
      }),
  });
  return (
    <section className="card" data-testid="script">
      <Title order={2} size="h4" mb="xs">
        {t('script')}
      </Title>
      <Group align="end" gap="sm">
        <Select
          label={t('nextRenewal')}
          allowDeselect={false}
          flex="1 1 260px"
          data={outcomes.map((value) => ({ value: String(value), label: t(`outcome_${value}` as Word) }))}
          value={String(outcome)}
          onChange={(value) => setOutcome(Number(value) as ChargeOutcome)}
        />
        <Select
          label={t('scriptNotices')}
          allowDeselect={false}
          flex="1 1 200px"
          data={faults.map((value) => ({ value: String(value), label: t(`fault_${value}` as Word) }))}
          value={String(notices)}
          onChange={(value) => setNotices(Number(value) as NoticeFault)}
        />
        <Button variant="default" loading={script.isPending} onClick={() => script.mutate()}>
          {t('playScript')}
        </Button>
      </Group>
      <Text size="sm" c="dimmed" mt="xs" mih={22} role="status">
        {script.isSuccess && t('scriptSet')}
      </Text>
      {script.error && <Problem error={script.error} />}
    </section>
  );
}
