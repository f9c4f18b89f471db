import type { JsonValue } from '@bufbuild/protobuf';
import { CustomerNoticeSchema } from '@cinema-billing/gen/billing/events/v1/customer_notice_pb.ts';
import {
  DiscardPolicy,
  JetStreamApiCodes,
  JetStreamApiError,
  RetentionPolicy,
  StorageType,
  type JetStreamManager,
} from '@nats-io/jetstream';
import { nanos } from '@nats-io/transport-node';
import { sql } from 'kysely';
import { encodeNotice } from './customer-notices.ts';
import { cloudEventHeaders } from './encode-entitlement.ts';
import type { PublishContext } from './publish-message.ts';

export const noticesStreamName = 'BILLING_NOTICES';
const subjects = ['billing.notices.v1.>'];
const noticesPerBatch = 500;
const batchesPerRoundMax = 10_000;
const publishTimeoutMs = 5_000;
const duplicateWindowMs = 120_000;
/** Whoever was away longer has nothing left to tell: a declined renewal is decided after 14 days. */
const maxAgeMs = 30 * 86_400_000;

interface NoticeRow {
  event_id: string;
  user_id: string;
  body: JsonValue;
  occurred_at: string;
}

/** Makes the stream of notices where there is none; one that is there is the operator's. */
export async function ensureNoticesStream(manager: JetStreamManager): Promise<void> {
  try {
    await manager.streams.info(noticesStreamName);
  } catch (error) {
    if (!(error instanceof JetStreamApiError && error.code === JetStreamApiCodes.StreamNotFound)) throw error;
    await manager.streams.add({
      name: noticesStreamName,
      subjects,
      storage: StorageType.File,
      retention: RetentionPolicy.Limits,
      discard: DiscardPolicy.Old,
      max_age: nanos(maxAgeMs),
      duplicate_window: nanos(duplicateWindowMs),
    });
  }
}

/**
 * Sends what viewers should be told, oldest first, and marks what the stream has acknowledged. Each notice stands for
 * itself, so there is no fence: one that went in and was not marked comes again under the same id. Throws the first
 * problem; what failed waits for the next round.
 */
export async function sendNotices({ em, manager, counts }: PublishContext, mayGoOn: () => boolean): Promise<void> {
  for (let batch = 0; batch < batchesPerRoundMax && mayGoOn(); batch++) {
    const { rows } = await sql<NoticeRow>`
      select event_id, user_id, body, to_char(occurred_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as occurred_at
      from customer_notice where published_at is null order by event_id limit ${noticesPerBatch}
    `.execute(em.fork().getKysely());
    if (rows.length === 0) return;
    const results = await Promise.allSettled(rows.map((row) => publish(manager, row)));
    const sent = rows.filter((_, index) => results[index]!.status === 'fulfilled').map(({ event_id }) => event_id);
    await sql`
      update customer_notice set published_at = clock_timestamp()
      where event_id = any(${sent}::uuid[]) and published_at is null
    `.execute(em.fork().getKysely());
    counts.published += sent.length;
    const failed = results.find((result) => result.status === 'rejected');
    if (failed) throw failed.reason;
    if (rows.length < noticesPerBatch) return;
  }
}

async function publish(manager: JetStreamManager, row: NoticeRow): Promise<void> {
  const ack = await manager.jetstream().publish(`billing.notices.v1.${row.user_id}`, encodeNotice(row.body), {
    msgID: row.event_id,
    headers: cloudEventHeaders({
      id: row.event_id,
      type: CustomerNoticeSchema.typeName,
      subject: row.user_id,
      time: row.occurred_at,
    }),
    expect: { streamName: noticesStreamName },
    timeout: publishTimeoutMs,
  });
  if (!(ack.seq > 0)) throw new Error(`the stream acknowledged ${row.event_id} without a sequence`);
}
