import { useState, type ReactNode } from 'react';
import { Alert, Button, Group, Modal, Skeleton, Stack, Text, Textarea } from '@mantine/core';
import { useMutation, useQuery } from '@tanstack/react-query';
import { queries } from '../api.ts';
import { useSettings } from '../settings.tsx';
import { Problem } from './states.tsx';

/** What every change of an operator carries. */
export interface Change {
  readonly requestId: string;
  readonly reason: string;
  readonly validateOnly: boolean;
}

interface Props {
  readonly title: string;
  readonly confirm: string;
  readonly danger?: boolean;
  /** Fields of this action, above the preview. */
  readonly children?: ReactNode;
  /** Names what is previewed; undefined while the fields are not complete. */
  readonly previewKey: string | undefined;
  /** Makes the call; with `validateOnly` the service answers what it would do. */
  readonly call: (change: Change) => Promise<unknown>;
  /** Says the answer of a preview. */
  readonly describe: (answer: never) => ReactNode;
  /** Shown instead of the problem when the preview is refused. */
  readonly refused?: (error: unknown) => ReactNode;
  readonly onClose: () => void;
  readonly onDone?: () => void;
}

const reasonLengthMax = 256;
/** A preview needs one too; it is kept nowhere. */
const previewReason = 'preview';
/** The preview asks again when it is this old, so that the effect told is the one that comes. */
const previewFreshMs = 10_000;

/** Asks for a reason, shows by the service's own preview what will happen, then does it. One request id per dialog. */
export function ActionDialog(props: Props) {
  const { title, confirm, danger, previewKey, call, describe, refused, onClose, onDone } = props;
  const { t } = useSettings();
  const [reason, setReason] = useState('');
  const [requestId] = useState(() => crypto.randomUUID());
  const preview = useQuery({
    queryKey: ['preview', requestId, previewKey],
    queryFn: () => call({ requestId: crypto.randomUUID(), reason: previewReason, validateOnly: true }),
    enabled: previewKey !== undefined,
    staleTime: previewFreshMs,
    gcTime: 0,
    retry: false,
  });
  const change = useMutation({
    mutationFn: () => call({ requestId, reason: reason.trim(), validateOnly: false }),
    onSuccess: async () => {
      onClose();
      onDone?.();
      await queries.invalidateQueries({
        predicate: ({ queryKey }) => queryKey[0] !== 'preview',
        // A page that is being left may show what is gone by now: only the next one asks again.
        refetchType: onDone ? 'none' : 'active',
      });
    },
  });
  const isRefused = preview.error !== null;
  const canConfirm = reason.trim() !== '' && preview.isSuccess && previewKey !== undefined;
  return (
    <Modal opened onClose={onClose} title={title} centered radius="lg" closeButtonProps={{ 'aria-label': t('close') }}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (canConfirm) change.mutate();
        }}
      >
        <Stack>
          {props.children}
          <Outcome isRefused={isRefused} isWaiting={preview.isLoading}>
            {isRefused ? refused?.(preview.error) || <Problem error={preview.error} /> : null}
            {previewKey === undefined && <span className="dim">{t('fillIn')}</span>}
            {preview.isSuccess && describe(preview.data as never)}
          </Outcome>
          <Textarea
            label={t('reason')}
            description={t('reasonHint')}
            required
            autosize
            minRows={2}
            maxLength={reasonLengthMax}
            value={reason}
            onChange={(event) => setReason(event.currentTarget.value)}
            data-autofocus
          />
          {change.error && <Problem error={change.error} />}
          <Group justify="end">
            <Button variant="default" onClick={onClose}>
              {t('cancelDialog')}
            </Button>
            <Button
              type="submit"
              color={danger ? 'red.8' : undefined}
              disabled={!canConfirm}
              loading={change.isPending}
            >
              {confirm}
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}

interface OutcomeProps {
  readonly isRefused: boolean;
  readonly isWaiting: boolean;
  readonly children: ReactNode;
}

function Outcome({ isRefused, isWaiting, children }: OutcomeProps) {
  const { t } = useSettings();
  if (isRefused) return children;
  return (
    <Alert color="violet" variant="light" title={t('willHappen')} aria-live="polite">
      {isWaiting ? (
        <Skeleton height={22} />
      ) : (
        <Text size="sm" component="div">
          {children}
        </Text>
      )}
    </Alert>
  );
}
