import { Button, Group, Text, Title } from '@mantine/core';
import { createClient } from '@connectrpc/connect';
import { timestampDate, timestampFromDate } from '@bufbuild/protobuf/wkt';
import { useMutation, useQuery } from '@tanstack/react-query';
import { SandboxService } from '@cinema-billing/gen/billing/sandbox/v1/sandbox_service_pb.ts';
import { queries, transport } from '../api.ts';
import { useSettings } from '../settings.tsx';
import { Loaded, Problem } from './states.tsx';

const clock = createClient(SandboxService, transport);
const dayMs = 86_400_000;
/** Each call works until its deadline; a month of many viewers may take several. */
const callsMax = 20;
const lookEveryMs = 5_000;

/** Moves the virtual clock; billing does on the way all that falls due. */
export function ClockCard() {
  const { t, date } = useSettings();
  const query = useQuery({ queryKey: ['clock'], queryFn: () => clock.getClock({}), refetchInterval: lookEveryMs });
  const advance = useMutation({
    mutationFn: async (move: (now: Date) => Date) => {
      const { now } = await clock.getClock({});
      const to = timestampFromDate(move(timestampDate(now!)));
      let answer = await clock.advanceClock({ target: { case: 'to', value: to } });
      for (let call = 1; call < callsMax && !answer.done; call += 1)
        answer = await clock.advanceClock({ target: { case: 'to', value: to } });
      return answer;
    },
    onSettled: () => queries.invalidateQueries(),
  });
  return (
    <section className="card" data-testid="clock">
      <Title order={2} size="h4" mb="sm">
        {t('clock')}
      </Title>
      <Loaded query={query}>
        {({ now }) => (
          <Text className="price" mb="sm">
            {date(now, 'day')}
          </Text>
        )}
      </Loaded>
      <Group gap={6}>
        <Button variant="default" disabled={advance.isPending} onClick={() => advance.mutate(nextDay)}>
          {t('nextDay')}
        </Button>
        <Button disabled={advance.isPending} onClick={() => advance.mutate(nextMonth)}>
          {t('nextMonth')}
        </Button>
      </Group>
      <Text size="sm" c="dimmed" mt="xs" mih={22} role="status">
        {advance.isPending && t('clockMoves')}
        {advance.data && !advance.data.done && t('clockLeft', { what: advance.data.unresolved.join(', ') })}
      </Text>
      {advance.error && <Problem error={advance.error} />}
    </section>
  );
}

const nextDay = (now: Date): Date => new Date(now.getTime() + dayMs);

/** The same day and hour of the next month, or its last day. */
function nextMonth(now: Date): Date {
  const next = new Date(now);
  next.setUTCMonth(now.getUTCMonth() + 1);
  if (next.getUTCDate() !== now.getUTCDate()) next.setUTCDate(0);
  return next;
}
