import { fromBinary } from '@bufbuild/protobuf';
import {
  EntitlementChangedSchema,
  type EntitlementChanged,
} from '@cinema-billing/gen/billing/events/v1/entitlement_changed_pb.ts';
import { JetStreamApiCodes, JetStreamApiError, type JetStreamManager } from '@nats-io/jetstream';
import type { Logger } from 'pino';
import type { EntityManager } from '../db/orm.ts';
import { failPoint } from '../lib/fail-point.ts';
import { encodeEntitlement, entitlementHeaders } from './encode-entitlement.ts';
import { isKnown, markUpTo, newestMessage, type OutboxMessage, type Published } from './outbox-rows.ts';
import { streamName, subjectOf } from './stream.ts';

const publishTimeoutMs = 5_000;

export interface PublishContext {
  readonly em: EntityManager;
  readonly manager: JetStreamManager;
  readonly log: Logger;
  readonly counts: { published: number; refused: number };
}

/** The stream holds a change that the database does not know: the database was set back, and only a person can tell. */
export class StreamAheadError extends Error {}

/**
 * Sends one message and answers where the stream has it, to be marked; undefined when it is marked already, because
 * the stream had it or the current state went out in its place. Throws when the outcome is unknown or bad: the row stays, and the next round sends the same id.
 *
 * The expected sequence is the fence: a message goes in only right behind the user's version before it, whoever sends
 * it and whenever. Within the stream's duplicate window the same id is answered as a duplicate first.
 */
export async function publishMessage(ctx: PublishContext, message: OutboxMessage): Promise<Published | undefined> {
  try {
    failPoint('relay.before-publish');
    const sequence = await send(ctx.manager, message, message.eventId, message.previousSequence);
    failPoint('relay.after-publish');
    return { eventId: message.eventId, sequence };
  } catch (error) {
    if (!(error instanceof JetStreamApiError && error.code === JetStreamApiCodes.StreamWrongLastSequence)) throw error;
  }
  ctx.counts.refused++;
  return resolveRefusal(ctx, message);
}

async function resolveRefusal(ctx: PublishContext, message: OutboxMessage): Promise<Published | undefined> {
  const last = await ctx.manager.streams.getMessage(streamName, { last_by_subj: subjectOf(message.userId) });
  const lastSequence = last?.seq ?? 0;
  const lastEvent = last ? decode(last.data) : undefined;
  const lastVersion = lastEvent?.version ?? 0n;

  if (lastEvent && lastVersion >= message.version) {
    if (!(await isKnown(ctx.em, lastEvent.eventId))) {
      throw new StreamAheadError(`the stream has version ${lastVersion} of ${message.userId}, unknown to the database`);
    }
    // It was sent before and never marked, or another relay sent it.
    await markUpTo(ctx.em, message.userId, lastVersion, lastSequence);
    return undefined;
  }
  if (lastVersion === message.version - 1n) {
    return { eventId: message.eventId, sequence: await send(ctx.manager, message, message.eventId, lastSequence) };
  }

  ctx.log.error(
    { alarm: 'STREAM_LOST_DATA', userId: message.userId, lastVersion: `${lastVersion}`, version: `${message.version}` },
    'the stream lost messages of a user; their current state is published instead',
  );
  const snapshot = await newestMessage(ctx.em, message.userId);
  // Not the event's own id: the server may remember that from the message that was lost.
  const sequence = await send(ctx.manager, snapshot, `${snapshot.eventId}:after:${lastSequence}`, lastSequence);
  await markUpTo(ctx.em, snapshot.userId, snapshot.version, sequence);
  return undefined;
}

async function send(
  manager: JetStreamManager,
  message: OutboxMessage,
  messageId: string,
  lastSubjectSequence: number,
): Promise<number> {
  const ack = await manager.jetstream().publish(subjectOf(message.userId), encodeEntitlement(message), {
    msgID: messageId,
    headers: entitlementHeaders(message),
    expect: { streamName, lastSubjectSequence },
    timeout: publishTimeoutMs,
  });
  if (!(ack.seq > 0)) throw new Error(`the stream acknowledged ${message.eventId} without a sequence`);
  return ack.seq;
}

/** Undefined for what none of ours wrote: it counts as nothing, and the next message goes on top of it. */
function decode(payload: Uint8Array): EntitlementChanged | undefined {
  try {
    return fromBinary(EntitlementChangedSchema, payload);
  } catch {
    return undefined;
  }
}
