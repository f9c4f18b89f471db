import type { ReactNode } from 'react';
import { Alert, Button, Group, Skeleton, Stack, Text, Title } from '@mantine/core';
import { Code, ConnectError } from '@connectrpc/connect';
import { problemsOf, reasonOf } from '../api.ts';
import { useSettings } from '../settings.tsx';

interface HeadProps {
  readonly title: ReactNode;
  readonly aside?: ReactNode;
}

/** The top of a page: its one heading, and what can be done here. */
export function PageHead({ title, aside }: HeadProps) {
  return (
    <Group justify="space-between" mb="lg" gap="sm" mih={42}>
      <Title order={1} size="h2" className="wrap">
        {title}
      </Title>
      <Group gap="xs">{aside}</Group>
    </Group>
  );
}

/** What went wrong, in the service's words, with its stable reason. */
export function Problem({ error, again }: { readonly error: unknown; readonly again?: () => void }) {
  const { t } = useSettings();
  const isAway = ConnectError.from(error).code === Code.Unavailable;
  return (
    <Alert color="red" title={t('failed')} role="alert">
      <Stack gap={6} align="start">
        {isAway && <Text size="sm">{t('noService')}</Text>}
        {problemsOf(error).map((problem) => (
          <Text key={problem} size="sm" className="wrap">
            {problem}
          </Text>
        ))}
        {reasonOf(error) !== '' && <Text className="mono">{reasonOf(error)}</Text>}
        {again && (
          <Button size="xs" variant="default" onClick={again}>
            {t('retry')}
          </Button>
        )}
      </Stack>
    </Alert>
  );
}

/** As tall as what comes, so that nothing jumps. */
export function PageSkeleton({ rows = 6 }: { readonly rows?: number }) {
  const { t } = useSettings();
  return (
    <Stack gap="md" aria-busy aria-label={t('loading')} role="status">
      {Array.from({ length: rows }, (_, row) => (
        <Skeleton key={row} height={row === 0 ? 96 : 52} radius="md" />
      ))}
    </Stack>
  );
}

export function Empty({ children }: { readonly children: ReactNode }) {
  return (
    <Text c="dimmed" ta="center" py="xl">
      {children}
    </Text>
  );
}

interface Query<Data> {
  readonly data: Data | undefined;
  readonly error: unknown;
  readonly refetch: () => unknown;
}

/** Loading, then the problem or the page. What was there stays while it is asked anew. */
export function Loaded<Data>({
  query,
  children,
}: {
  readonly query: Query<Data>;
  readonly children: (data: Data) => ReactNode;
}) {
  if (query.data !== undefined) return children(query.data);
  if (query.error) return <Problem error={query.error} again={() => void query.refetch()} />;
  return <PageSkeleton />;
}
