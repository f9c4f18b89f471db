import { Button, Group } from '@mantine/core';
import { useSettings } from '../settings.tsx';

interface Paged {
  readonly hasNextPage: boolean;
  readonly isFetchingNextPage: boolean;
  readonly fetchNextPage: () => unknown;
}

/** The next page of a list, where there is one. */
export function MoreButton({ query }: { readonly query: Paged }) {
  const { t } = useSettings();
  if (!query.hasNextPage) return null;
  return (
    <Group justify="center" mt="md">
      <Button variant="default" loading={query.isFetchingNextPage} onClick={() => void query.fetchNextPage()}>
        {t('more')}
      </Button>
    </Group>
  );
}

/** For connect-query's lists: the token of the page before asks for the next one. */
export const byPageToken = {
  pageParamKey: 'pageToken' as const,
  getNextPageParam: ({ nextPageToken }: { nextPageToken: string }) => nextPageToken || undefined,
};
