import {
  DiscardPolicy,
  JetStreamApiCodes,
  JetStreamApiError,
  RetentionPolicy,
  StorageType,
  type JetStreamManager,
  type StreamConfig,
  type StreamInfo,
} from '@nats-io/jetstream';
import { nanos } from '@nats-io/transport-node';

export const streamName = 'BILLING_ENTITLEMENTS';
const subjects = ['billing.entitlements.v1.>'];

// A consumer that was away needs only the last state of a user; the rest is for the eyes of whoever looks for a fault.
const messagesPerUser = 16;
const duplicateWindowMs = 120_000;

/** The subject of a user's messages. */
export function subjectOf(userId: string): string {
  return `billing.entitlements.v1.${userId}`;
}

const settings = {
  name: streamName,
  subjects,
  storage: StorageType.File,
  retention: RetentionPolicy.Limits,
  max_msgs_per_subject: messagesPerUser,
  // No limit may ever remove a quiet user's last message: the expected sequence of the next one would fail. And should
  // an operator set one, then refuse what is new (it stays in the outbox) rather than drop what is old.
  max_age: 0,
  max_msgs: -1,
  max_bytes: -1,
  discard: DiscardPolicy.New,
  deny_delete: true,
  deny_purge: true,
  duplicate_window: nanos(duplicateWindowMs),
} satisfies Partial<StreamConfig>;

/**
 * Makes the stream, or checks the one that is there, and answers its last sequence. Throws an Error that names every
 * setting that would lose or block messages. Replicas, placement, limits on size and the duplicate window are the
 * operator's.
 */
export async function ensureStream(manager: JetStreamManager): Promise<number> {
  let info: StreamInfo;
  try {
    info = await manager.streams.info(streamName);
  } catch (error) {
    if (!(error instanceof JetStreamApiError && error.code === JetStreamApiCodes.StreamNotFound)) throw error;
    info = await manager.streams.add(settings);
  }
  const problems = mismatches(info.config);
  if (problems.length > 0) throw new Error(`the stream ${streamName} does not fit: ${problems.join('; ')}`);
  return info.state.last_seq;
}

function mismatches(config: StreamConfig): string[] {
  const limited = config.max_age > 0 || config.max_msgs > 0 || config.max_bytes > 0;
  const problems: [isWrong: boolean, problem: string][] = [
    [config.subjects?.length !== 1 || config.subjects[0] !== subjects[0], `its subjects are not ${subjects[0]} alone`],
    [config.storage !== StorageType.File, 'it is not stored in files'],
    [config.retention !== RetentionPolicy.Limits, 'its retention is not by limits: read messages would vanish'],
    [config.max_age > 0, 'it has a max age: a quiet user would lose their last message'],
    [
      limited && config.discard !== DiscardPolicy.New,
      'it discards old messages: a quiet user would lose their last one',
    ],
    [config.discard_new_per_subject, 'it refuses new messages of a user instead of dropping their oldest'],
    [config.no_ack === true, 'it does not acknowledge'],
    [config.sealed, 'it is sealed'],
  ];
  return problems.filter(([isWrong]) => isWrong).map(([, problem]) => problem);
}
