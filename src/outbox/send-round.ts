import { failPoint } from '../lib/fail-point.ts';
import { markPublished, nextMessages, unpublishLost, type OutboxMessage } from './outbox-rows.ts';
import { publishMessage, StreamAheadError, type PublishContext } from './publish-message.ts';
import { ensureStream } from './stream.ts';

const usersPerBatch = 500;
const batchesPerRoundMax = 10_000;

/**
 * Before the first message on a new connection: the stream is there and fits, and what it was told and has lost is put
 * back among the unpublished. Throws when the stream cannot be used.
 */
export async function recoverStream({ em, manager, log }: PublishContext): Promise<void> {
  const lastSequence = await ensureStream(manager);
  const users = await unpublishLost(em, lastSequence);
  if (users === 0) return;
  log.error({ alarm: 'STREAM_LOST_DATA', users, lastSequence }, 'the stream lost messages: sending them again');
}

/**
 * Sends one message of every user that has any, so that those with many do not starve the others. Throws the first
 * problem after all that could be sent was sent; what failed waits for the next round.
 */
export async function sendRound(ctx: PublishContext, mayGoOn: () => boolean): Promise<void> {
  let problem: unknown;
  let afterUserId: string | undefined;
  for (let batch = 0; batch < batchesPerRoundMax && mayGoOn(); batch++) {
    const messages = await nextMessages(ctx.em, afterUserId, usersPerBatch);
    const errors = await sendBatch(ctx, messages);
    // With the stream in trouble the next batch would only wait for its time-outs.
    const inTrouble = errors.find((error) => !(error instanceof StreamAheadError));
    if (inTrouble !== undefined) throw inTrouble;
    problem ??= errors[0];
    if (messages.length < usersPerBatch) break;
    afterUserId = messages.at(-1)!.userId;
  }
  if (problem !== undefined) throw problem;
}

/** One in flight per user, all users at once; answers what went wrong. */
async function sendBatch(ctx: PublishContext, messages: readonly OutboxMessage[]): Promise<unknown[]> {
  const results = await Promise.allSettled(messages.map((message) => publishMessage(ctx, message)));
  const done = results.filter((result) => result.status === 'fulfilled').map((result) => result.value);
  await markPublished(
    ctx.em,
    done.filter((published) => published !== undefined),
  );
  if (done.length > 0) failPoint('relay.after-mark');
  ctx.counts.published += done.length;
  return results.filter((result) => result.status === 'rejected').map((result) => result.reason as unknown);
}
