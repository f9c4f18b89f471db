import { useState } from 'react';
import { Box, Button, Group, Text } from '@mantine/core';
import type { AuditEntry } from '@cinema-billing/gen/billing/admin/v1/operations_service_pb.ts';
import { Link } from 'wouter';
import { useSettings } from '../settings.tsx';
import { Empty } from './states.tsx';

/** Who did what, when and why; the state before and after on demand. */
export function AuditRows({ entries }: { readonly entries: readonly AuditEntry[] }) {
  const { t } = useSettings();
  if (entries.length === 0) return <Empty>{t('noEntries')}</Empty>;
  return entries.map((entry) => <AuditRow key={entry.id} entry={entry} />);
}

function AuditRow({ entry }: { readonly entry: AuditEntry }) {
  const { t, date } = useSettings();
  const [isOpen, setIsOpen] = useState(false);
  return (
    <Box py="sm" className="line">
      <Group justify="space-between" gap="xs">
        <Text fw={600}>
          {entry.action} <TargetLink entry={entry} />
        </Text>
        <Text size="sm" c="dimmed">
          {date(entry.occurredAt)} · {entry.actorId} ({entry.actorRole})
        </Text>
      </Group>
      <Group justify="space-between" gap="xs" wrap="nowrap" align="start">
        <Text size="sm" className="wrap">
          {entry.reason}
        </Text>
        <Button size="compact-xs" variant="subtle" aria-expanded={isOpen} onClick={() => setIsOpen(!isOpen)}>
          {t('before')} / {t('after')}
        </Button>
      </Group>
      {isOpen && (
        <Text component="pre" className="mono difference" mt="xs">
          {differences(entry.beforeJson, entry.afterJson).join('\n') || '—'}
        </Text>
      )}
    </Box>
  );
}

function TargetLink({ entry: { targetKind, targetId, userId } }: { readonly entry: AuditEntry }) {
  const page = targetKind === 'plan' ? `/plans/${targetId}` : targetKind === 'payment' ? `/payments/${targetId}` : '';
  const href = page || (userId === '' ? '' : `/users/${userId}`);
  const text = `${targetKind} ${targetId.slice(-12)}`;
  if (href === '') return <span className="mono dim">{text}</span>;
  return (
    <Link href={href} className="row-link mono dim">
      {text}
    </Link>
  );
}

/** `name: "A" → "B"`, one line per field that differs. */
function differences(beforeJson: string, afterJson: string): string[] {
  const [before, after] = [fieldsOf(beforeJson), fieldsOf(afterJson)];
  return [...new Set([...Object.keys(before), ...Object.keys(after)])]
    .map((name) => [name, JSON.stringify(before[name]) ?? '—', JSON.stringify(after[name]) ?? '—'])
    .filter(([, was, is]) => was !== is)
    .map(([name, was, is]) => `${name}: ${was} → ${is}`);
}

function fieldsOf(json: string): Record<string, unknown> {
  return json === '' ? {} : (JSON.parse(json) as Record<string, unknown>);
}
