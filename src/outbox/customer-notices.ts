import { create, fromJson, toBinary, toJson, type JsonValue, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs, type Timestamp } from '@bufbuild/protobuf/wkt';
import { CustomerNoticeSchema } from '@cinema-billing/gen/billing/events/v1/customer_notice_pb.ts';
import { sql } from 'kysely';
import type { EntityManager } from '../db/orm.ts';
import { rowTable } from '../db/row-table.ts';
import { newId } from '../lib/ids.ts';
import type { Money } from '../lib/money.ts';

type Instant = Temporal.Instant;

/** What a viewer should be told; the contract says what each field means. */
export type NoticeBody =
  | {
      readonly kind: 'paymentFailed';
      readonly amount: Money;
      readonly declineCode: string;
      readonly nextAttemptAt: Instant | null;
      readonly accessUntil: Instant | null;
      readonly endsAt: Instant | null;
    }
  | {
      readonly kind: 'paymentActionRequired';
      readonly amount: Money;
      readonly actionUrl: string;
      readonly accessUntil: Instant | null;
      readonly endsAt: Instant | null;
    }
  | {
      readonly kind: 'priceChangeAnnounced';
      readonly priceBefore: Money;
      readonly price: Money;
      readonly appliesFrom: Instant;
    }
  | {
      readonly kind: 'disputeOpened' | 'refundSucceeded' | 'refundFailed';
      readonly amount: Money;
      readonly paymentId: string;
    }
  | {
      readonly kind: 'trialEnding' | 'renewalUpcoming';
      readonly amount: Money;
      readonly chargedAt: Instant;
      readonly cardBrand: string;
      readonly cardLast4: string;
    }
  | {
      readonly kind: 'paymentMethodExpiring';
      readonly cardBrand: string;
      readonly cardLast4: string;
      /** The last month in which it is good. */
      readonly expiry: Temporal.PlainYearMonth;
      readonly chargedAt: Instant;
    }
  | { readonly kind: 'receiptIssued'; readonly paymentId: string; readonly fiscalDocument: string };

export interface CustomerNotice {
  readonly userId: string;
  readonly subscriptionId: string;
  readonly body: NoticeBody;
}

/**
 * Writes down what viewers should be told, in the transaction of what happened: it is told if and only if it did. Kept
 * as the contract's JSON, so that a person can read it.
 */
export async function enqueueNotices(
  tx: EntityManager,
  notices: readonly CustomerNotice[],
  now: Temporal.Instant,
): Promise<void> {
  if (notices.length === 0) return;
  const ids = notices.map(() => newId());
  await sql`
    insert into customer_notice (event_id, user_id, subscription_id, kind, body, occurred_at)
    select *, ${now.toString()}::timestamptz
    from ${rowTable('notice', notices, {
      event_id: ['uuid', (_, index) => ids[index]!],
      user_id: ['uuid', ({ userId }) => userId],
      subscription_id: ['uuid', ({ subscriptionId }) => subscriptionId],
      kind: ['text', ({ body }) => body.kind],
      body: ['jsonb', (notice, index) => jsonOf(ids[index]!, notice, now)],
    })}
  `.execute(tx.getKysely());
}

/** The bytes of `billing.events.v1.CustomerNotice`. */
export function encodeNotice(body: JsonValue): Uint8Array {
  return toBinary(CustomerNoticeSchema, fromJson(CustomerNoticeSchema, body, { ignoreUnknownFields: true }));
}

function jsonOf(eventId: string, { userId, subscriptionId, body }: CustomerNotice, now: Temporal.Instant): object {
  const message = create(CustomerNoticeSchema, {
    eventId,
    userId,
    subscriptionId,
    occurredAt: timestampOf(now),
    notice: noticeOf(body),
  });
  return toJson(CustomerNoticeSchema, message) as object;
}

type Notice = NonNullable<Extract<MessageInitShape<typeof CustomerNoticeSchema>, { $typeName?: never }>['notice']>;

function noticeOf(body: NoticeBody): Notice {
  switch (body.kind) {
    case 'paymentFailed': {
      const { kind, amount, declineCode } = body;
      const nextAttemptAt = body.nextAttemptAt && { nextAttemptAt: timestampOf(body.nextAttemptAt) };
      return { case: kind, value: { amount, declineCode, ...nextAttemptAt, ...ends(body) } };
    }
    case 'paymentActionRequired': {
      const { kind, amount, actionUrl } = body;
      return { case: kind, value: { amount, actionUrl, ...ends(body) } };
    }
    case 'priceChangeAnnounced': {
      const { kind, priceBefore, price } = body;
      return { case: kind, value: { priceBefore, price, appliesFrom: timestampOf(body.appliesFrom) } };
    }
    case 'disputeOpened':
    case 'refundSucceeded':
    case 'refundFailed': {
      const { kind, amount, paymentId } = body;
      return { case: kind, value: { amount, paymentId } };
    }
    case 'trialEnding':
    case 'renewalUpcoming': {
      const { kind, amount, cardBrand, cardLast4 } = body;
      return { case: kind, value: { amount, cardBrand, cardLast4, chargedAt: timestampOf(body.chargedAt) } };
    }
    case 'paymentMethodExpiring': {
      const { kind, cardBrand, cardLast4, expiry, chargedAt } = body;
      const [expiryMonth, expiryYear] = [expiry.month, expiry.year];
      return {
        case: kind,
        value: { cardBrand, cardLast4, expiryMonth, expiryYear, chargedAt: timestampOf(chargedAt) },
      };
    }
    case 'receiptIssued': {
      const { kind, paymentId, fiscalDocument } = body;
      return { case: kind, value: { paymentId, fiscalDocument } };
    }
  }
}

function ends({ accessUntil, endsAt }: { accessUntil: Instant | null; endsAt: Instant | null }) {
  return {
    ...(accessUntil && { accessUntil: timestampOf(accessUntil) }),
    ...(endsAt && { endsAt: timestampOf(endsAt) }),
  };
}

function timestampOf(at: Temporal.Instant): Timestamp {
  return timestampFromMs(at.epochMilliseconds);
}
